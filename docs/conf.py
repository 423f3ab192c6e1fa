"""Sphinx settings; `make docs` builds with warnings as errors."""

import re
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


# Pages that stand above docs/ and are included in one of them, and a folder
ABOVE = {f"{name.upper()}.rst": name for name in ("architecture", "security", "contributing", "changelog")}
FOLDERS = {"docs/protocol/": "protocol/session"}


def setup(app: Sphinx) -> None:
    app.connect("include-read", find_pages)


def find_pages(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    """Make the paths in a page that stands above docs/, as GitHub wants them, those of pictures and pages in docs/."""
    text = content[0].replace(".. image:: docs/", ".. image:: /")
    content[0] = re.sub(r"`([^`<]+) <([\w./-]+)>`__", lambda found: f":doc:`{found[1]} <{page_of(found[2])}>`", text)


def page_of(path: str) -> str:
    """Return the page at a path from above docs/."""
    return "/" + (ABOVE | FOLDERS).get(path, path.removesuffix(".rst").removeprefix("docs/"))
