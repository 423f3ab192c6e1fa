"""WebRTC as it is installed: its libraries (22 MB, a quarter of a second) are loaded for the first direct link."""

from importlib.util import find_spec
from typing import ClassVar, Final

from mm_transports.lazy import LazyTransport
from mmplatform.plugins.signalling import SignallingTransport
from mmplatform.plugins.transport import PUNCHED

LIBRARY: Final = "aiortc"  # comes with the extra [webrtc]

if find_spec(LIBRARY) is None:
    raise ModuleNotFoundError(f"No module named {LIBRARY!r}", name=LIBRARY)


class LazyWebRTC(LazyTransport):
    """Stands for :class:`mm_transports.webrtc.transport.WebRTC` with the STUN and TURN servers of its node."""

    schemes: ClassVar[tuple[str, ...]] = ("webrtc",)
    address: ClassVar[str] = "webrtc:"
    cost: ClassVar[int] = PUNCHED

    def load(self) -> SignallingTransport:
        from mm_transports.webrtc.transport import WebRTC

        host = self._host
        return WebRTC(stun=host.stun, turn=host.turn) if host is not None else WebRTC()
