"""docs/protocol/vectors/session.json: another implementation's bytes, checked at every step."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmplatform.identity.keys import Identity, SignId
from mmplatform.session.events import Established, Identified, Send
from mmplatform.session.handshake import CookieJar, Initiator, Machine, Responder
from mmplatform.session.session import data_keys
from tests.support.sessions import only, reason_of

VECTORS = json.loads((Path(__file__).parents[3] / "docs/protocol/vectors/session.json").read_text())
Case = dict[str, Any]


def named(case: Case) -> str:
    return str(case["name"])


def scripted(*draws: str) -> Callable[[int], bytes]:
    """The given draws, in order; the last are repeated for a second and third HELLO."""
    queue = [bytes.fromhex(draw) for draw in draws]

    def draw(size: int) -> bytes:
        taken = queue.pop(0)
        if len(queue) < 2:
            queue.extend(bytes.fromhex(last) for last in draws[-2:])
        assert len(taken) == size
        return taken

    return draw


def machines(case: Case) -> tuple[Initiator, Responder]:
    client, server = case["client"], case["server"]
    initiator = Initiator(
        Identity.from_seed(bytes.fromhex(client["seed"])),
        bytes.fromhex(client["record"]),
        SignId(Identity.from_seed(bytes.fromhex(server["seed"])).sign_id),
        lambda: bytes.fromhex(client["resume"]),
        scripted(*client["draws"]),
    )
    # a later minute key is of no matter: any 32 bytes
    jar = CookieJar(scripted(case["jar_key"], case["jar_key"][::-1], case["jar_key"]))
    responder = Responder(
        Identity.from_seed(bytes.fromhex(server["seed"])),
        lambda: bytes.fromhex(server["record"]),
        jar,
        scripted(*server["draws"]),
    )
    return initiator, responder


@pytest.mark.parametrize("case", VECTORS["valid"], ids=named)
def test_valid(case: Case) -> None:
    initiator, responder = machines(case)
    assert initiator._server == case["server"]["sign_id"]
    hello = initiator.hello()
    assert hello.hex() == case["hello"]
    cookie = only(responder.receive(hello, case["now"]), Send).frame
    assert cookie.hex() == case["cookie_frame"]
    initiate = only(initiator.receive(cookie, case["now"]), Send).frame
    assert initiate.hex() == case["initiate"]
    identified = only(responder.receive(initiate, case["initiate_at"]), Identified)
    assert identified.peer.sign_id == case["client"]["sign_id"]
    assert identified.resume.hex() == case["client"]["resume"]
    events = responder.accept(bytes.fromhex(case["server"]["resume"]))
    ready = only(events, Send).frame
    assert ready.hex() == case["ready"]
    at_client = only(initiator.receive(ready, case["initiate_at"]), Established)
    assert at_client.resume.hex() == case["server"]["resume"]
    sessions = {"client": at_client.session, "server": only(events, Established).session}
    for row in case["data"]:
        sender, receiver = sessions[row["from"]], sessions["server" if row["from"] == "client" else "client"]
        while sender._sealed < row["number"]:
            receiver.open(sender.seal(b""))
        assert sender._seal_key.hex() == row["key"]
        frame = sender.seal(bytes.fromhex(row["plaintext"]))
        assert frame.hex() == row["frame"]
        assert receiver.open(frame).hex() == row["plaintext"]


@pytest.mark.parametrize("case", VECTORS["valid"], ids=named)
def test_the_first_data_keys(case: Case) -> None:
    keys = data_keys(bytes.fromhex(case["key"]), bytes.fromhex(case["transcript_hash"]))
    assert [key.hex() for key in keys] == case["data_keys"]


@pytest.mark.parametrize("case", VECTORS["invalid"], ids=named)
def test_invalid(case: Case) -> None:
    initiator, responder = machines(case)
    initiator.hello()
    machine: Machine = initiator if case["machine"] == "client" else responder
    for frame in case["before"]:
        machine.receive(bytes.fromhex(frame), case["now"])
    frame = bytes.fromhex(case["frame"]) + bytes(case.get("zeros_after", 0))
    assert reason_of(lambda: machine.receive(frame, case["initiate_at"])) == case["reason"]
    assert machine.dead == case["reason"]


def test_the_vectors_cover_the_reasons_a_peer_can_cause() -> None:
    covered = {case["reason"] for case in VECTORS["invalid"]}
    assert covered >= {
        *("wrong-magic", "wrong-version", "wrong-type", "too-short", "too-long", "bad-box", "bad-content", "bad-key"),
        *("bad-cookie", "stale-cookie", "too-many-hellos", "bad-record", "bad-signature", "wrong-peer"),
    }
