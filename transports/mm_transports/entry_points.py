"""The plugins of this package by group and name, for programs in which setup.cfg has left no entry points: frozen ones.

tests/test_packaging.py compares this with setup.cfg.
"""

from typing import Final

PLUGINS: Final = {
    "mmplatform.transports": {
        "memory": "mm_transports.memory:Memory",
        "relay": "mm_transports.relay.transport:Relay",
        "tcp": "mm_transports.tcp:TCP",
        "webrtc": "mm_transports.webrtc.lazy:LazyWebRTC",
    },
}
