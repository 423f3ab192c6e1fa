"""What a data channel does not need is not loaded, and is there all the same for whoever uses it."""

import subprocess
import sys
from pathlib import Path

import pytest

from mm_transports.webrtc import lean

pytest.importorskip("aiortc")


def run(script: str) -> None:
    """In a process that has loaded nothing yet."""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_webrtc_loads_neither_codecs_nor_names_by_multicast() -> None:
    run("""
import sys
import mm_transports.webrtc.transport
assert "aiortc" in sys.modules
assert not {"av", "dns", "aioice.mdns"} & {".".join(name.split(".")[:2]) for name in sys.modules}
assert not [name for name in sys.modules if name.startswith(("av.", "dns."))]
""")


def test_an_application_that_uses_media_loses_nothing() -> None:
    run("""
import asyncio
import mm_transports.webrtc.transport
import aiortc, av
from aiortc.codecs.vpx import Vp8Encoder
from aiortc.mediastreams import VideoFrame
frame = asyncio.run(aiortc.VideoStreamTrack().recv())
assert type(frame) is av.VideoFrame and isinstance(frame, VideoFrame)
assert Vp8Encoder().encode(frame)[0]
""")


def test_names_of_browsers_are_looked_up() -> None:
    run("""
import asyncio, sys
from mm_transports.webrtc import pair
from mm_transports.webrtc.protocol.sdp import IceCandidate
import aioice.ice
assert aioice.ice.mdns.is_mdns_hostname("d0e4a3a8-1b2c-4d5e-8f90-123456789abc.local")
assert not aioice.ice.mdns.is_mdns_hostname("192.0.2.1")
assert pair.NAMES not in sys.modules
asyncio.run(pair._ready_for([IceCandidate("1", 1, "192.0.2.1", 5000, "host")]))
assert pair.NAMES not in sys.modules
asyncio.run(pair._ready_for([IceCandidate("1", 1, "d0e4a3a8-1b2c-4d5e-8f90-123456789abc.local", 5000, "host")]))
assert aioice.ice.mdns.create_mdns_hostname().endswith(".local")
assert aioice.ice.mdns.MDnsProtocol._true() is sys.modules[pair.NAMES].MDnsProtocol
""")


def test_stand_ins_serve_until_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "heavy_one.py").write_text("class Thing:\n    size = 3\nKNOWN = 'true'\n")
    (tmp_path / "user_one.py").write_text(
        "import heavy_one\n"
        "from heavy_one import KNOWN, Thing\n"
        "from heavy_one.parts import Part\n"
        "def make(thing: Thing | None = None) -> Thing: return Thing()\n".replace("Thing | None", "'Thing | None'")
    )
    monkeypatch.syspath_prepend(tmp_path)
    with lean.without({"heavy_one": {"KNOWN": "given"}}):
        import user_one  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]
    assert "heavy_one" not in sys.modules
    assert (user_one.KNOWN, hasattr(user_one.Thing, "__wrapped__")) == ("given", False)
    assert isinstance(user_one.make(), user_one.Thing)
    assert user_one.Thing.size == 3

    class Derived(user_one.Thing):  # type: ignore[misc]
        pass

    assert Derived.size == 3
    assert sys.modules["heavy_one"].KNOWN == "true"
    with pytest.raises(ModuleNotFoundError):
        user_one.Part()
    with lean.without({"heavy_one": {}}):
        import heavy_one  # type: ignore[import-not-found]  # pyright: ignore[reportMissingImports]
    assert heavy_one.KNOWN == "true", "what is loaded is not replaced"
