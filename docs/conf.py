"""Sphinx settings; `make docs` builds with warnings as errors."""

from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

project = "mm-platform"
author = "the mm-platform authors"
copyright = f"2026, {author}"
release = version = version_of("mm-platform")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"mm-platform {version}"


def setup(app: Sphinx) -> None:
    app.connect("include-read", find_picture)


def find_picture(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    """Make the picture's path in a page that stands above docs/, as GitHub wants it, one from docs/."""
    content[0] = content[0].replace(".. image:: docs/", ".. image:: /")
