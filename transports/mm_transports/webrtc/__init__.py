"""Direct links through NATs: WebRTC data channels, signalled over any live link (docs/protocol/webrtc.rst)."""
