"""The local HTTP door of a running node (``mm run --http``): for programs in any language (docs/http.rst)."""
