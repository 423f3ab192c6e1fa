"""The record that says where a node is: signed anew in time, with everybody's addresses."""

import asyncio
import logging
from typing import Any

import pytest

from mmplatform.directory import own_record as module
from mmplatform.errors import ProtocolError, StorageCorrupt, StorageError
from mmplatform.identity.mailkeys import KEEP, ROTATE
from mmplatform.identity.nodeinfo import MAX_ADDRESSES, NodeInfo
from mmplatform.links import listener
from mmplatform.storage.memory import MemoryStorage
from tests.support.waiting import pace, until
from tests.support.whereabouts import NOW, Ports, Roaming, Whereabouts
from tests.support.world import World, identity


async def test_the_record_says_where_and_is_ours() -> None:
    node = Whereabouts(Ports(), "tcp://a:0", "tcp://b:7")
    with pytest.raises(ProtocolError, match="starting"):
        node.own.encoded()
    await node.open()
    assert node.addresses == ("tcp://a:5000", "tcp://b:7")
    record = NodeInfo.decode(node.own.encoded(), NOW)
    assert (record.sign_id, record.seq, record.expires) == (identity(1).sign_id, NOW * 1000, NOW + module.VALID)
    assert len(node.records) == 1
    await node.close()


async def test_the_mail_key_in_the_record_is_replaced_weekly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.002)
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    keys = [node.mail_keys.current]
    for days in (7, 14):
        node.now = NOW + days * 24 * 3600
        seen = len(node.records)
        await until(lambda seen=seen: len(node.records) > seen + 1)
        record = NodeInfo.decode(node.own.encoded(), node.now)
        keys.append(record.mail_key)
        assert record.mail_key == node.mail_keys.current
    await node.close()
    assert len(set(keys)) == 3
    assert len(node.mail_keys.secrets()) == 3
    node.now += KEEP + ROTATE
    assert len(node.mail_keys.secrets()) == 1


@pytest.mark.parametrize("days", [31, 365, 2, -2, -40])
async def test_a_record_that_is_shown_is_of_these_days_whatever_the_timers_say(days: int) -> None:
    """A laptop that slept, a clock that was set: no timer of the loop has ended."""
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    first, key = node.own.record, node.mail_keys.current
    assert first is not None
    node.now += days * 24 * 3600
    shown = NodeInfo.decode(node.own.encoded(), node.now)
    assert shown.expires == node.now + module.VALID
    assert shown.seq > first.seq
    assert node.own.encoded() == shown.encode()  # once
    await until(lambda: len(node.records) == 3)  # saved meanwhile, with a new mail key when that was due
    saved = await node.storage.get(b"node/seq")
    assert saved == node.sequences[-1].to_bytes(8)
    assert node.sequences == sorted(set(node.sequences))
    assert (node.mail_keys.current != key) is (not 0 <= days < 7)
    await node.close()


async def test_a_record_that_nobody_looks_at_is_renewed_soon_after_the_clock_was_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.002)
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    await pace(0.05)
    assert len(node.records) == 1
    for days in (31, -31):
        node.now += days * 24 * 3600
        await until(lambda: node.own.record is not None and node.own.record.expires == node.now + module.VALID)
    await node.close()


async def test_a_clock_that_trembles_renews_nothing() -> None:
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    shown = node.own.encoded()
    for seconds in (-50, 3600, 23 * 3600):
        node.now = NOW + seconds
        assert node.own.encoded() == shown
    await node.close()
    node.now = NOW + 1e9
    assert node.own.encoded() == shown  # a node that has ended signs nothing any more


async def test_damaged_mail_keys_are_told_and_replaced() -> None:
    storage = MemoryStorage()
    await storage.open()
    await storage.put(b"node/mailkeys", b"damaged")
    node = await Whereabouts(Ports(), "tcp://a:1", storage=storage).open()
    await node.close()
    assert [type(error) for error in node.errors] == [StorageCorrupt]
    assert node.own.record is not None
    assert node.own.record.mail_key == node.mail_keys.current != b""


async def test_addresses_of_others_are_in_the_record_too_up_to_sixteen() -> None:
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    await node.own.advertise("relay", ["relay+wss://x/k"])
    assert node.addresses == ("tcp://a:1", "relay+wss://x/k")
    await node.own.advertise("relay", [f"relay+wss://x/{n}" for n in range(40)])
    assert len(node.addresses) == 16
    await node.own.advertise("relay", [])
    assert node.addresses == ("tcp://a:1",)
    assert node.sequences[-1] == node.sequences[0] + 3
    await node.close()


async def test_what_is_advertised_before_the_first_record_is_in_it() -> None:
    node = Whereabouts(Ports(), "tcp://a:1")
    await node.own.advertise("folder", ["folder:///mail"])
    await node.open()
    assert set(node.addresses) == {"tcp://a:1", "folder:///mail"}
    assert len(node.records) == 1
    await node.close()


async def test_the_record_is_renewed_in_time_and_a_failure_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH", 0.002)
    monkeypatch.setattr(module, "REFRESH_AGAIN", 0.002)
    node = await Whereabouts(Ports(), "tcp://a:1").open()
    await until(lambda: len(node.records) >= 3)
    await node.storage.close()
    await until(lambda: len(node.errors) >= 2)
    assert all(isinstance(error, StorageError) for error in node.errors)
    await node.storage.open()
    renewals = len(node.records)
    await until(lambda: len(node.records) > renewals)
    node.own.close()
    await node.close()
    assert node.own._timer is not None
    assert node.own._timer.cancelled() or node.own._closed
    await node.own._renew()
    assert node.own._timer.cancelled() or node.own._timer.when() < asyncio.get_running_loop().time()


async def test_a_service_puts_its_addresses_into_the_record_and_replaces_them() -> None:
    here = await Whereabouts(Roaming(None), "roaming:any").open()
    await here.own.advertise("kad", ["kad://192.0.2.1:4000"])
    await here.own.advertise("kad", ["kad://192.0.2.1:4000"])
    await here.own.advertise("kad", ["kad://192.0.2.1:4001"])
    await here.own.advertise("kad", [])
    assert here.records == [
        ("roaming:fixed",),
        ("roaming:fixed", "kad://192.0.2.1:4000"),
        ("roaming:fixed", "kad://192.0.2.1:4001"),
        ("roaming:fixed",),
    ]
    assert here.sequences == sorted(set(here.sequences))
    await here.close()


async def test_who_advertises_at_once_gets_a_sequence_number_each() -> None:
    here = await Whereabouts(Roaming(None), "roaming:any").open()
    await asyncio.gather(*(here.own.advertise(f"s{n}", [f"s{n}:x"]) for n in range(5)))
    assert here.sequences == sorted(set(here.sequences))
    assert here.records[-1] == ("roaming:fixed", *(f"s{n}:x" for n in range(5)))
    await here.close()


async def test_many_interfaces_do_not_push_out_the_one_address_of_a_service() -> None:
    here = await Whereabouts(Roaming([f"roaming:{n}" for n in range(30)]), "roaming:any").open()
    assert len(here.records[0]) == MAX_ADDRESSES
    await here.own.advertise("kad", ["kad:1", "kad:2"])
    assert here.records[-1] == (*(f"roaming:{n}" for n in range(MAX_ADDRESSES - 2)), "kad:1", "kad:2")
    await here.close()


async def test_what_has_no_room_in_the_record_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmplatform.directory")
    transport = Roaming([f"roaming:{n}" for n in range(18)])
    here = await Whereabouts(transport, "roaming:any").open()
    assert here.own.left_out == ("roaming:16", "roaming:17")
    await here.own.advertise("kad", ["kad:1"])
    assert here.own.left_out == ("roaming:15", "roaming:16", "roaming:17")
    await here.own.advertise("kad", ["kad:2"])
    lines = [record.getMessage() for record in caplog.records if "no room" in record.getMessage()]
    assert lines == [
        "a record holds 16 addresses; ours has no room for roaming:16, roaming:17",
        "a record holds 16 addresses; ours has no room for roaming:15, roaming:16, roaming:17",
    ]
    await here.close()


async def test_a_storage_that_fails_is_told_and_the_record_renewed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LOOK_AGAIN", 0.001)
    monkeypatch.setattr(module, "REFRESH_AGAIN", 0.001)
    transport = Roaming(["roaming:wifi"])
    here = await Whereabouts(transport, "roaming:any").open()
    await here.storage.close()
    transport.addresses = ["roaming:cable"]
    await until(lambda: here.errors)
    assert isinstance(here.errors[0], StorageError)
    await here.storage.open()
    await until(lambda: here.records[-1] == ("roaming:cable",))
    await here.close()


@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_a_platform_publishes_what_a_service_advertised(kind: str) -> None:
    async with World(kind).node(1) as node:
        seen: list[Any] = []
        node.messaging.on("self.transports.myNodeInfo", lambda topic, sender, payload: seen.append(payload))
        before = node.directory.own_record
        await node.advertise("kad", ["kad://192.0.2.1:4000"])
        assert node.directory.own_record is not None
        assert before is not None
        assert seen[-1]["connectionInfo"] == [*before.connection_info, "kad://192.0.2.1:4000"]
        assert node.directory.own_record.seq > before.seq
