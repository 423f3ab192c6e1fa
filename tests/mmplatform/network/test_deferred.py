"""A transport is loaded when it is needed, not sooner, and behaves as itself then."""

import pytest

from mm_transports.memory import Memory, Network
from mmplatform.errors import PluginError, Unreachable
from mmplatform.network.deferred import Deferred
from mmplatform.network.transport import Transport
from tests.mm_transports.test_contract import PEER, Host


async def test_it_is_loaded_with_the_first_address() -> None:
    loaded: list[Transport] = []

    class Known(Memory):
        attached: object = None

        def attach(self, node: object) -> None:
            self.attached = node

        def troubles(self) -> dict[str, str]:
            return {"memory://bob": ""}

    def load() -> Transport:
        loaded.append(Known(Network()))
        return loaded[0]

    deferred = Deferred(("memory",), load)
    deferred.attach("node")  # type: ignore[arg-type]
    assert (deferred.schemes, deferred.reachable(), deferred.troubles(), loaded) == (("memory",), None, {}, [])
    host = Host(deferred, "memory://bob")
    [host.address] = await deferred.listen(host.hint, host.accept)
    near, far = await host.dial()
    near.connection.write(b"x")
    assert await far.frames.get() == b"x"
    assert len(loaded) == 1
    assert loaded[0].attached == "node"  # type: ignore[attr-defined]
    deferred.signalled(PEER, b"which memory does not listen to")
    assert deferred.reachable() is None
    assert deferred.troubles() == {"memory://bob": ""}
    with pytest.raises(Unreachable, match="nobody keeps mail"):
        await deferred.deposit("memory://bob", PEER, bytes(16), 0, b"")
    await deferred.close()
    near.connection.abort()
    await far.gone.wait()


async def test_what_cannot_be_loaded_is_a_reason() -> None:
    def load() -> Transport:
        raise PluginError("it is not installed; pip install it")

    deferred = Deferred(("relay+ws",), load)
    with pytest.raises(Unreachable, match="pip install"):
        await deferred.dial("relay+ws://x/k", PEER, lambda connection: None)  # type: ignore[arg-type,return-value]
    await deferred.close()
    with pytest.raises(Unreachable, match="stopping"):
        await deferred.deposit("relay+ws://x/k", PEER, bytes(16), 0, b"")
