"""Who may use a relay."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mm_relay.access import Access
from mm_relay.doors.limits import Crowd
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import PEER, RELAY, SignIn
from mmplatform.identity.keys import Identity

ONE, TWO = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
ADDRESS = format_relay("wss://relay.example/", ONE.sign_id)


def peer(identity: Identity) -> SignIn:
    return SignIn(identity.sign_key, bytes(32), bytes(64), PEER)


def relay(identity: Identity, address: str = ADDRESS) -> SignIn:
    return SignIn(identity.sign_key, bytes(32), bytes(64), RELAY, address)


def test_everybody_may_by_default() -> None:
    assert Access().refuses(peer(ONE)) == Access().refuses(relay(ONE)) == ""


def test_peers_by_list() -> None:
    only_one = Access(allow={ONE.sign_key})
    assert (only_one.refuses(peer(ONE)), only_one.refuses(peer(TWO))) == ("", "denied")
    not_one = Access(deny={ONE.sign_key})
    assert (not_one.refuses(peer(ONE)), not_one.refuses(peer(TWO))) == ("denied", "")
    assert Access(allow={ONE.sign_key}, deny={ONE.sign_key}).refuses(peer(ONE)) == "denied"
    assert only_one.refuses(relay(ONE)) == "", "the lists of peers are not those of relays"


@pytest.mark.parametrize(
    ("access", "refused"),
    [
        (Access(federate="none"), "denied"),
        (Access(federate="none", federate_allow={ONE.sign_key}), "denied"),
        (Access(federate="listed"), "denied"),
        (Access(federate="listed", federate_allow={ONE.sign_key}), ""),
        (Access(federate="listed", federate_allow={ONE.sign_key}, federate_deny={ONE.sign_key}), "denied"),
        (Access(federate_deny={ONE.sign_key}), "denied"),
        (Access(federate_deny={TWO.sign_key}), ""),
        (Access(reaches=lambda address: False), "unreachable"),
    ],
)
def test_relays(access: Access, refused: str) -> None:
    assert access.refuses(relay(ONE)) == refused


@pytest.mark.parametrize("address", ["", "nonsense", ADDRESS[:-1], format_relay("wss://relay.example/", TWO.sign_id)])
def test_a_relay_names_an_address_with_its_own_key(address: str) -> None:
    assert Access().refuses(relay(ONE, address)) == "wrong-address"


def test_roles_nobody_knows() -> None:
    assert Access().refuses(SignIn(ONE.sign_key, bytes(32), bytes(64), 2)) == "unknown-role"


def test_caps() -> None:
    crowd = Crowd(most=4, most_an_address=2, most_unproven=3)
    crowd.enter("192.0.2.1")
    crowd.enter("192.0.2.1")
    assert crowd.refuses("192.0.2.1") == "too many connections from this address"
    assert crowd.refuses("192.0.2.2") == ""
    crowd.enter("192.0.2.2")
    assert crowd.refuses("192.0.2.3") == "too many connections that have not signed in"
    crowd.prove()
    crowd.enter("192.0.2.3")
    assert crowd.refuses("192.0.2.4") == "this relay is full"
    crowd.leave("192.0.2.1", proven=True)
    assert crowd.refuses("192.0.2.1") == "too many connections that have not signed in"
    crowd.leave("192.0.2.1", proven=False)
    assert crowd.refuses("192.0.2.1") == ""


def test_one_ipv6_network_is_one_address() -> None:
    crowd = Crowd(most_an_address=1)
    crowd.enter("2001:db8:0:1::1")
    assert crowd.refuses("2001:db8:0:1:ffff::2")
    assert not crowd.refuses("2001:db8:0:2::1")
    crowd.enter("::ffff:192.0.2.1")
    assert crowd.refuses("192.0.2.1")
    assert not crowd.refuses("::ffff:192.0.2.2")
    crowd.enter("fe80::1%eth0")


@given(st.lists(st.tuples(st.sampled_from(["1.1.1.1", "2.2.2.2", "2001:db8::1"]), st.booleans())))
def test_who_has_left_is_not_counted(came: list[tuple[str, bool]]) -> None:
    crowd = Crowd()
    for ip, proven in came:
        crowd.enter(ip)
        if proven:
            crowd.prove()
    assert crowd.unproven == sum(not proven for _, proven in came)
    for ip, proven in came:
        crowd.leave(ip, proven)
    assert crowd == Crowd()
