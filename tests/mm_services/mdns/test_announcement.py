"""What is announced, and what of an announcement is believed."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_services.mdns.announcement import MAX_TXT, instance_name, read, tcp_endpoints, write
from mmplatform.errors import InvalidKey, InvalidRecord
from mmplatform.identity.nodeinfo import NodeInfo
from tests.support.world import identity

NOW = 1_750_000_000.0
BOB, EVE = identity(2), identity(3)
NAMED = ["tcp://192.0.2.9:9"]


def record(*addresses: str, of: Any = BOB, expires: float = NOW + 1000) -> NodeInfo:
    return NodeInfo.create(of, addresses or ("tcp://192.0.2.1:1",), 1, int(expires))


def strings(info: NodeInfo) -> dict[bytes, bytes | None]:
    """As they come from the network."""
    return {key.encode(): value for key, value in write(info).items()}


@pytest.mark.parametrize("count", [1, 5, 16])
def test_a_record_that_fits_is_proven_at_once(count: int) -> None:
    info = record(*(f"tcp://192.0.2.{n}:65535" for n in range(count)))
    said = read(strings(info), NAMED, NOW)
    assert (said.sign_id, said.info, said.addresses) == (BOB.sign_id, info, info.connection_info)


def test_addresses_of_this_link_stand_beside_the_record() -> None:
    info = record("tcp://192.0.2.1:1")
    named = ["tcp://[fe80::2%3]:1", "tcp://[fe80::1%3]:1", "tcp://192.0.2.9:1", "tcp://[fe80::1]:1", "tcp://[fe80"]
    said = read(strings(info), named, NOW)
    assert said.addresses == (*info.connection_info, "tcp://[fe80::1%3]:1", "tcp://[fe80::2%3]:1")
    assert read(strings(record("tcp://[fe80::1%eth0]:1")), [], NOW).addresses == (), "a zone of somebody else"
    assert len(read(strings(info), [f"tcp://[fe80::{n}%3]:1" for n in range(1, 99)], NOW).addresses) == 5


def test_no_string_and_no_announcement_is_too_long() -> None:
    for count in range(17):
        found = write(record(*(f"tcp://host-{n}.{'x' * 60}.example:65535" for n in range(count))))
        sizes = [len(key) + 1 + len(value) for key, value in found.items()]
        assert max(sizes) <= 255
        assert sum(sizes) + len(sizes) <= MAX_TXT


def test_of_a_record_that_does_not_fit_the_key_is_announced() -> None:
    info = record(*(f"tcp://host-{n}.{'x' * 200}.example:1" for n in range(16)))
    assert set(write(info)) == {"v", "id"}
    said = read(strings(info), NAMED * 40, NOW)
    assert (said.sign_id, said.info, len(said.addresses)) == (BOB.sign_id, None, 16)


HOSTILE: dict[str, Any] = {
    "version": {b"v": b"2"},
    "nothing": {},
    "no value": {b"v": None},
    "expired": strings(record(expires=NOW - 1)),
    "sign-id": strings(record()) | {b"id": EVE.sign_id.encode()},
    "signature": strings(record()) | {b"r0": base64.b64encode(record().encode()[:-1] + b"x")},
    "not base64": strings(record()) | {b"r0": b"????"},
    "more behind": strings(record()) | {b"r1": b"AAAA"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_as_it_should_be_is_refused(name: str) -> None:
    with pytest.raises(InvalidRecord):
        read(HOSTILE[name], NAMED, NOW)


@pytest.mark.parametrize("key", [None, b"", b"bob", b"\xff" * 44, b"A" * 43 + b"="])
def test_a_key_that_is_none(key: bytes | None) -> None:
    with pytest.raises(InvalidKey):
        read({b"v": b"1", b"id": key}, NAMED, NOW)


@given(st.dictionaries(st.sampled_from([b"v", b"id", b"r0", b"r1", b"r5"]), st.none() | st.binary(max_size=300)))
def test_nothing_else_escapes(properties: dict[bytes, bytes | None]) -> None:
    with pytest.raises((InvalidRecord, InvalidKey)):
        read(properties | {b"v": b"1"}, NAMED, NOW)


def test_only_tcp_addresses_can_be_probed() -> None:
    addresses = ["tcp://[fe80::1%2]:1", "kad://192.0.2.1:2", "tcp://192.0.2.1:3", "tcp://192.0.2.1", "tcp://x:99999"]
    assert tcp_endpoints(addresses) == [("fe80::1%2", 1), ("192.0.2.1", 3)]
    assert tcp_endpoints(["tcp://[", "tcp://a:b", "nonsense"]) == []


def test_each_run_has_a_name_of_its_own() -> None:
    first, second = (instance_name(BOB.sign_id) for _ in range(2))
    assert first != second
    assert first.partition("-")[0] == second.partition("-")[0] != instance_name(EVE.sign_id).partition("-")[0]
