"""Who may use a relay."""

import pytest

from mm_relay.access import Access
from mm_transports.relay.protocol.address import format_relay
from mm_transports.relay.protocol.items import PEER, RELAY
from mmplatform.identity.keys import Identity

ONE, TWO = (Identity.from_seed(bytes([number]) * 32) for number in (1, 2))
ADDRESS = format_relay("wss://relay.example/", ONE.sign_id)


Claim = tuple[bytes, int, str]


def peer(identity: Identity) -> Claim:
    return identity.sign_key, PEER, ""


def relay(identity: Identity, address: str = ADDRESS) -> Claim:
    return identity.sign_key, RELAY, address


def test_everybody_may_by_default() -> None:
    assert Access().refuses(*peer(ONE)) == Access().refuses(*relay(ONE)) == ""


def test_peers_by_list() -> None:
    only_one = Access(allow={ONE.sign_key})
    assert (only_one.refuses(*peer(ONE)), only_one.refuses(*peer(TWO))) == ("", "denied")
    not_one = Access(deny={ONE.sign_key})
    assert (not_one.refuses(*peer(ONE)), not_one.refuses(*peer(TWO))) == ("denied", "")
    assert Access(allow={ONE.sign_key}, deny={ONE.sign_key}).refuses(*peer(ONE)) == "denied"
    assert only_one.refuses(*relay(ONE)) == "", "the lists of peers are not those of relays"


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
    assert access.refuses(*relay(ONE)) == refused


@pytest.mark.parametrize("address", ["", "nonsense", ADDRESS[:-1], format_relay("wss://relay.example/", TWO.sign_id)])
def test_a_relay_names_an_address_with_its_own_key(address: str) -> None:
    assert Access().refuses(*relay(ONE, address)) == "wrong-address"


def test_roles_nobody_knows() -> None:
    assert Access().refuses(ONE.sign_key, 2, "") == "unknown-role"
