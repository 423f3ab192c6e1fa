"""A server of WebSockets, and native doors on real sockets before a core that writes down what it is told."""

from tests.support.native_door import opened
from tests.support.websocket_ends import host

__all__ = ["host", "opened"]
