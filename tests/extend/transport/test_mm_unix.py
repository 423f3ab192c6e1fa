import pytest
from mm_unix import Unix

from mm_transports.testing import Scene
from mm_transports.testing.contract import TransportContract
from mmplatform import Platform


class TestUnix(TransportContract):
    @pytest.fixture
    def scene(self, tmp_path):
        return Scene(Unix(), f"unix://{tmp_path}/socket")


@pytest.mark.asyncio
async def test_a_durable_message(tmp_path):
    def node(name):
        return Platform(tmp_path / name, transports=["unix"], connection_info=[f"unix://{tmp_path}/{name}.socket"])

    async with node("alice") as alice, node("bob") as bob:
        heard = []
        bob.messaging.on("public.chat", lambda topic, sender, payload: heard.append(payload))
        delivery = await alice.messaging.send("chat", await alice.add(bob.ticket()), "hi")
        assert ((await delivery).state, heard) == ("delivered", ["hi"])
