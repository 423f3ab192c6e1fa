"""What a node is told of a relay's certificate that it does not take: what is wrong with it, and what to do."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tls
from mm_transports.relay.checks import examine
from mmplatform.errors import Unreachable
from tests.support.relay_client import RELAY, client
from tests.support.tiny_relay import Tiny


@pytest.mark.parametrize(
    ("made", "trusted", "wrong", "remedy"),
    [
        ({"begins": -3, "ends": -1}, True, "has expired", "renew it"),
        ({"begins": 0.5, "ends": 1}, True, "is not valid yet", "the clock of this host"),
        ({"host": "other.example"}, True, "is for another name than localhost", "the address that the relay has now"),
        ({}, False, "nobody this host trusts has signed it", "SSL_CERT_FILE"),
    ],
)
async def test_what_is_wrong_with_a_certificate_is_told_to_who_dials_and_by_the_doctor(
    tmp_path: Path, made: dict[str, Any], trusted: bool, wrong: str, remedy: str
) -> None:
    tls.create(tmp_path, **made)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(tmp_path / tls.CERTIFICATE, tmp_path / tls.KEY)
    tiny = await Tiny(RELAY).start(ssl=serving)
    address = tiny.address.replace("relay+ws:", "relay+wss:").replace("127.0.0.1", "localhost")
    trusting = tls.client_context(tmp_path) if trusted else None
    async with client(address, keep=False, ssl_context=trusting) as (alice, _):
        with pytest.raises(Unreachable, match=f"{wrong}.*{remedy}"):
            await alice.connected(5)
        check = await examine(alice)
    assert (check.word, wrong in check.text, remedy in check.remedy) == ("relay-tls", True, True)
    await tiny.stop()
