"""Answers plain HTTP: ``/healthz`` for balancers, ``/metrics`` for Prometheus, ``/`` for people."""

import json
from collections.abc import Callable
from http import HTTPStatus

from mm_relay.doors.websocket_server import PLAIN, Page
from mm_relay.metrics import CONTENT_TYPE


class Pages:
    """The pages. ``trouble()`` says why no client should come, in a word and in a sentence, or twice "".

    ``metrics()`` gives the page of Prometheus.
    """

    def __init__(
        self, greeting: str, trouble: Callable[[], tuple[str, str]], metrics: Callable[[], bytes] | None
    ) -> None:
        self._greeting, self._trouble, self._metrics = greeting, trouble, metrics

    def __call__(self, path: str) -> Page | None:
        if path == "/metrics" and self._metrics is not None:
            return HTTPStatus.OK, CONTENT_TYPE, self._metrics()
        return self.without_metrics(path)

    def without_metrics(self, path: str) -> Page | None:
        """Answer on a port that strangers see."""
        if path == "/healthz":
            trouble, reason = self._trouble()
            status = HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK
            said = {"state": trouble or "ready"} | ({"reason": reason} if reason else {})
            return status, "application/json", json.dumps(said).encode() + b"\n"
        kind = PLAIN if self._greeting.isascii() else f"{PLAIN}; charset=utf-8"
        return (HTTPStatus.OK, kind, f"{self._greeting}\n".encode()) if path == "/" else None
