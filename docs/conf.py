"""Sphinx settings; `make docs` builds with warnings as errors."""

from importlib.metadata import version as version_of

project = "mm-platform"
author = "the mm-platform authors"
copyright = f"2026, {author}"
release = version = version_of("mm-platform")

extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"mm-platform {version}"
