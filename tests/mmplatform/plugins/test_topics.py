"""The topics of the local bus: no peer may send one, one page lists them all, and no source file spells one out."""

import ast
import re
from pathlib import Path

from mmplatform.contacts import Contacts
from mmplatform.identity.circles import is_control_topic
from mmplatform.messaging.bus import Bus
from mmplatform.plugins import topics
from mmplatform.storage.memory import MemoryStorage
from tests.support.world import identity

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "extend" / "service.rst"
SOURCES = ("mmplatform", "relay", "services", "transports")
TOPICS = {value for name, value in vars(topics).items() if name.isupper()}


def test_no_peer_may_send_one() -> None:
    assert len(TOPICS) == sum(name.isupper() for name in vars(topics))
    assert all(map(is_control_topic, TOPICS))


def test_the_page_lists_them_all() -> None:
    assert set(re.findall(r"^   \* - ``(\w+\.\w+)``$", PAGE.read_text(), re.MULTILINE)) == TOPICS


def test_no_source_file_spells_one_out() -> None:
    """What a peer may not send is said in identity/circles.py, which no plugin needs."""
    excepted = {Path(topics.__file__), ROOT / "mmplatform" / "identity" / "circles.py"}
    for file in (file for source in SOURCES for file in (ROOT / source).rglob("*.py") if file not in excepted):
        constants = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
        assert not constants & (TOPICS | {f"self.{topic}" for topic in TOPICS}), file


def test_circles_are_updated_by_their_topics() -> None:
    """contacts.py makes them of the names of the circles."""
    bus, alice = Bus(lambda error, topic: None), identity(1).sign_id
    contacts = Contacts(MemoryStorage(), alice, lambda error, topic="": None, (), ())
    contacts.listen(bus)
    for topic, circle in ((topics.FRIENDS_UPDATE, contacts.friends), (topics.DEVICES_UPDATE, contacts.devices)):
        bus.emit("self", topic, alice, [identity(2).sign_id])
        assert list(circle) == [identity(2).sign_id]
    contacts.close()
