"""What an honest client of a relay takes for a loss."""

import os

from mm_transports.relay.protocol.items import Closed
from mmplatform.identity.keys import Identity
from tests.hostile.guest import Guest
from tests.hostile.honest_pairs import LINK, Pairs
from tests.hostile.raw_link import Traffic


async def test_only_the_end_of_the_link_to_the_partner_is_a_loss() -> None:
    """A stranger opens links of any number to the honest and leaves: 4000 of those counted as lost."""
    pairs, guest, partner = Pairs(0, bytes(32), 1, ""), Guest(Traffic(), bytes(32)), Identity.generate().sign_key
    vars(pairs).setdefault("partners", {})[guest] = partner
    pairs._heard(guest, Closed(os.urandom(32), LINK, "gone"))
    pairs._heard(guest, Closed(os.urandom(32), 0, "gone"))
    assert pairs._report().lost == []
    pairs._heard(guest, Closed(partner, 0, "gone"))
    assert pairs._report().lost == ["link of a pair: gone"]
