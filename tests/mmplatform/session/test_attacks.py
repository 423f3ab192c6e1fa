"""Every attack that session.rst names, on the bytes of a handshake (DATA: test_session.py)."""

import base64
import copy
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_box_beforenm,
    crypto_box_easy_afternm,
    crypto_box_open_easy_afternm,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError

from mmplatform.identity.keys import SignId, box_id_of, digest, raw_key
from mmplatform.session import packets
from mmplatform.session.cookies import CookieJar
from mmplatform.session.handshake import (
    COOKIE_LABEL,
    HELLO_LABEL,
    INITIATE_NONCE,
    Initiator,
    Machine,
    signed_parts,
)
from mmplatform.session.packets import Introduction, Type
from tests.support.sessions import (
    ALICE,
    BOB,
    EVE,
    NOW,
    REASONS,
    RECORDS,
    Pair,
    draws,
    frames,
    receivers,
    record_of,
    refused,
    run,
    states,
    take,
)

# Replays


def test_replayed_hello_gives_new_keys_and_proves_nothing() -> None:
    pair = Pair()
    pair.established()
    link = pair.another_link("replay")
    [answer] = link.receive(pair.hello_frame, NOW)
    assert answer.frame != pair.cookie_frame  # type: ignore[union-attr]
    refused("bad-cookie", lambda: link.receive(pair.initiate_frame, NOW))


def test_replayed_cookie() -> None:
    recorded = frames("earlier")[Type.COOKIE]
    pair = Pair()
    pair.hello()
    refused("bad-box", lambda: pair.initiator.receive(recorded, NOW))
    pair = run(3)
    refused("wrong-type", lambda: pair.initiator.receive(pair.cookie_frame, NOW))


def test_replayed_initiate_on_the_same_link() -> None:
    pair = run(4)
    refused("wrong-type", lambda: pair.responder.receive(pair.initiate_frame, NOW))


def test_replayed_initiate_on_another_link() -> None:
    pair = run(4)
    refused("bad-cookie", lambda: pair.another_link("replay").receive(pair.initiate_frame, NOW))


def test_replayed_initiate_where_randomness_repeats_itself() -> None:
    """Even a link id drawn twice (a cloned machine) does not start the same keys again."""
    pair = run(4)
    twin = pair.another_link("pair server")
    refused("spent-cookie", lambda: twin.receive(pair.initiate_frame, NOW))
    refused("spent-cookie", lambda: pair.another_link("pair server").receive(pair.initiate_frame, NOW + 59))


def test_an_initiate_that_fails_spends_nothing() -> None:
    pair = run(3)
    refused("bad-box", lambda: copy.copy(pair.responder).receive(pair.initiate_frame[:-1] + b"?", NOW))
    pair.responder.receive(pair.initiate_frame, NOW)


def test_replayed_ready() -> None:
    recorded = frames("earlier")[Type.READY]
    pair = run(3)
    refused("bad-box", lambda: pair.initiator.receive(recorded, NOW))
    pair = run(5)
    refused("wrong-type", lambda: pair.initiator.receive(pair.ready_frame, NOW))


# Altered, cut and oversize frames


def at_offset(kind: Type, offset: int) -> set[str]:
    """The reasons allowed for a change at one byte."""
    if offset < 4:
        return [{"wrong-magic"}, {"wrong-magic"}, {"wrong-version"}, {"wrong-type", "too-short", "too-long"}][offset]
    if kind is Type.INITIATE and offset < 4 + 32 + 152:
        return {"bad-cookie"}
    if kind is Type.HELLO and offset < 36:
        return {"bad-box", "bad-content"}
    return {"bad-box"}


@pytest.mark.parametrize("kind", Type)
def test_every_bit_flipped(kind: Type) -> None:
    machine, frame = receivers()[kind]
    for bit in range(len(frame) * 8):
        altered = bytearray(frame)
        altered[bit // 8] ^= 1 << bit % 8
        assert take(machine, bytes(altered)) in at_offset(kind, bit // 8), f"bit {bit}"
    assert take(machine, frame) == ""


@pytest.mark.parametrize("kind", Type)
def test_truncated_at_every_length(kind: Type) -> None:
    machine, frame = receivers()[kind]
    shortest, _ = packets.SIZES[kind]
    for length in range(len(frame)):
        assert take(machine, frame[:length]) == ("too-short" if length < shortest else "bad-box"), length
    assert take(machine, frame) == ""


@pytest.mark.parametrize("kind", Type)
def test_oversize(kind: Type) -> None:
    machine, frame = receivers()[kind]
    _, longest = packets.SIZES[kind]
    assert take(machine, frame + b"\0") == ("too-long" if len(frame) == longest else "bad-box")
    assert take(machine, frame.ljust(longest + 1, b"\0")) == "too-long"
    assert take(machine, frame.ljust(packets.MAX_FRAME * 2, b"\0")) == "too-long"


@pytest.mark.parametrize("kind", Type)
def test_a_later_version(kind: Type) -> None:
    for _, machine in states():
        for rest in (b"", bytes([kind]), bytes([kind]) + bytes(5000), b"\xff"):
            assert take(machine, b"mm\x02" + rest) == "wrong-version"


@pytest.mark.parametrize("kind", Type)
def test_reflection_to_its_sender(kind: Type) -> None:
    pair = Pair()
    pair.hello()
    sender: Machine = pair.initiator
    if kind is Type.HELLO:
        refused("wrong-type", lambda: sender.receive(pair.hello_frame, NOW))
    elif kind is Type.COOKIE:
        pair = run(2)
        refused("wrong-type", lambda: pair.responder.receive(pair.cookie_frame, NOW))
    elif kind is Type.INITIATE:
        pair = run(3)
        refused("wrong-type", lambda: pair.initiator.receive(pair.initiate_frame, NOW))
    else:
        pair = run(5)
        refused("wrong-type", lambda: pair.responder.receive(pair.ready_frame, NOW))


def test_initiate_reflected_as_ready() -> None:
    """Both boxes are under one key; the nonces keep them apart."""
    pair = run(3)
    box = packets.unpack_initiate(pair.initiate_frame).box
    refused("bad-box", lambda: pair.initiator.receive(packets.pack_ready(box), NOW))


@pytest.mark.slow
@pytest.mark.parametrize("state", range(7))
def test_100_000_random_frames(state: int) -> None:
    machine = list(states())[state][1]
    source = random.Random(state)
    for number in range(100_000):
        frame = source.randbytes(source.randrange(300))
        if number % 2:
            frame = b"mm\x01" + frame
        if number % 20 == 1:
            kind = source.choice(list(Type))
            frame = packets.header(kind) + source.randbytes(packets.SIZES[kind][0] + source.choice((0, 0, 40)) - 4)
        assert take(machine, frame) in REASONS


@settings(max_examples=200)
@given(st.data())
def test_spliced_frames(data: st.DataObject) -> None:
    """Frames cut and joined from two recorded links."""
    kind = data.draw(st.sampled_from(Type))
    machine, frame = receivers()[kind]
    other = frames("other link")[data.draw(st.sampled_from(Type))]
    cut, resumed = data.draw(st.integers(0, len(frame))), data.draw(st.integers(0, len(other)))
    spliced = frame[:cut] + other[resumed:]
    reason = take(machine, spliced)
    assert reason in REASONS or spliced in (frame, other)


# Cookies across links, servers and time


def test_cookie_of_another_link() -> None:
    pair = run(3)
    other = pair.another_link("other")
    other.receive(pair.hello_frame, NOW)
    refused("bad-cookie", lambda: other.receive(pair.initiate_frame, NOW))


def test_cookie_of_another_server() -> None:
    pair, other = run(3), Pair("other", server=BOB)
    refused("bad-cookie", lambda: other.responder.receive(pair.initiate_frame, NOW))


def test_cookie_expired() -> None:
    pair = run(3)
    assert take(pair.responder, pair.initiate_frame, NOW + 61) == "stale-cookie"
    assert take(run(3).responder, pair.initiate_frame, NOW + 121) == "bad-cookie"
    assert take(run(3).responder, pair.initiate_frame, NOW + 60) == ""


def test_cookie_with_another_clients_key() -> None:
    pair = run(3)
    initiate = packets.unpack_initiate(pair.initiate_frame)
    stolen = initiate._replace(client_short=crypto_scalarmult_base(b"e" * 32))
    assert take(pair.responder, packets.pack_initiate(stolen)) == "bad-cookie"


def test_a_full_jar_refuses_new_links() -> None:
    jar = CookieJar(draws("jar"), max_spent=1)
    Pair("first", jar=jar).established()
    refused("busy", Pair("second", jar=jar).identified)
    late = Pair("third", jar=jar)
    late.now = NOW + 60
    late.established()


# Who is who


def test_hello_for_another_server() -> None:
    pair = Pair(dialled=EVE)
    refused("bad-box", lambda: pair.responder.receive(pair.hello(), NOW))


def test_a_server_that_presents_another_record() -> None:
    pair = Pair(server_record=RECORDS[EVE.sign_id])
    refused("wrong-peer", pair.established)


def test_a_server_named_by_its_mirrored_key() -> None:
    """Two Ed25519 keys share one boxId; the signId dialled decides."""
    key = raw_key(BOB.sign_id)
    mirrored = key[:31] + bytes([key[31] ^ 0x80])
    sign_id = SignId(base64.b64encode(mirrored).decode())
    assert box_id_of(sign_id) == BOB.box_id
    pair = Pair()
    pair.initiator = Initiator(ALICE, RECORDS[ALICE.sign_id], sign_id, lambda: b"", draws("mirror"))
    refused("bad-signature", pair.established)


def test_records_that_do_not_verify() -> None:
    for record in (b"", b"garbage", RECORDS[ALICE.sign_id][:-1] + b"?", record_of(ALICE, NOW - 7200)):
        pair = Pair(client_record=record or b"\xc0")
        refused("bad-record", pair.identified)
        pair = Pair(server_record=record or b"\xc0")
        refused("bad-record", pair.established)


def test_an_initiator_that_shows_anothers_record() -> None:
    pair = Pair(client=EVE, client_record=RECORDS[ALICE.sign_id])
    refused("bad-signature", pair.identified)


def forged_initiate(
    pair: Pair, secret: bytes, cookie_frame: bytes, record: bytes, sign: Callable[[tuple[bytes, ...]], bytes]
) -> bytes:
    """INITIATE as an attacker with c' = ``secret`` and another way to sign would make it."""
    short = crypto_scalarmult_base(secret)
    nonce, box = packets.unpack_cookie(cookie_frame)
    key = crypto_box_beforenm(raw_key(box_id_of(BOB.sign_id)), secret)
    content = crypto_box_open_easy_afternm(box, COOKIE_LABEL + nonce, key)
    server_short, cookie = packets.unpack_cookie_content(content, nonce)
    hashes = (digest("mm/1 hello", pair.hello_frame), digest("mm/1 cookie", server_short, cookie))
    signature = sign(signed_parts(hashes, raw_key(BOB.sign_id), record, b""))
    content = packets.pack_introduction(Type.INITIATE, Introduction(record, signature, b""))
    sealed = crypto_box_easy_afternm(content, INITIATE_NONCE, crypto_box_beforenm(server_short, secret))
    return packets.pack_initiate(packets.Initiate(short, cookie, sealed))


def dial_by_hand(sign: Callable[[tuple[bytes, ...]], bytes], record: bytes) -> str:
    """The verdict of Bob's responder over a whole handshake made by hand."""
    pair = Pair()
    pair.cookie()
    secret = draws("pair client")(32)
    return take(pair.responder, forged_initiate(pair, secret, pair.cookie_frame, record, sign))


def test_the_forger_of_these_tests_can_speak_the_protocol() -> None:
    assert dial_by_hand(lambda parts: ALICE.sign("mm/1 initiate", *parts), RECORDS[ALICE.sign_id]) == ""


def test_key_compromise_impersonation_of_a_client_to_a_server_whose_secret_leaked() -> None:
    """Eve has all secrets of Bob; still nobody but Alice signs for Alice, neither anew nor from a record."""
    alice = RECORDS[ALICE.sign_id]
    assert dial_by_hand(lambda parts: EVE.sign("mm/1 initiate", *parts), alice) == "bad-signature"
    assert dial_by_hand(lambda parts: BOB.sign("mm/1 initiate", *parts), alice) == "bad-signature"
    assert dial_by_hand(lambda parts: bytes(64), alice) == "bad-signature"
    pair = run(3, "recorded")
    initiate = packets.unpack_initiate(pair.initiate_frame)
    cookie = pair.jar.open(initiate.cookie, initiate.client_short, pair.responder._link_id, NOW)
    key = crypto_box_beforenm(initiate.client_short, cookie.server_secret)
    content = crypto_box_open_easy_afternm(initiate.box, INITIATE_NONCE, key)
    recorded = packets.unpack_introduction(Type.INITIATE, content)
    assert dial_by_hand(lambda parts: recorded.signature, alice) == "bad-signature"


def test_key_compromise_impersonation_of_a_server_to_a_client_whose_secret_leaked() -> None:
    """Eve has Alice's secrets and answers Alice's HELLO to Bob: she cannot open it, nor seal its COOKIE."""
    pair = Pair()
    hello = packets.unpack_hello(pair.hello())
    guesses = [
        crypto_box_beforenm(hello.client_short, ALICE.box_secret),
        crypto_box_beforenm(BOB.box_key, ALICE.box_secret),
    ]
    for key in guesses:
        with pytest.raises(CryptoError):
            crypto_box_open_easy_afternm(hello.box, HELLO_LABEL + hello.nonce, key)
        cookie = crypto_box_easy_afternm(packets.cookie_content(EVE.box_key, bytes(152)), COOKIE_LABEL + bytes(16), key)
        assert take(pair.initiator, packets.pack_cookie(packets.Cookie(bytes(16), cookie))) == "bad-box"
    refused("bad-box", lambda: Pair(server=ALICE).responder.receive(pair.hello_frame, NOW))


@pytest.mark.parametrize("part", ["HELLO", "COOKIE", "server", "record", "resume", "label"])
def test_the_signature_covers(part: str) -> None:
    parts_of = ("HELLO", "COOKIE", "server", "record", "resume")

    def sign(parts: tuple[bytes, ...]) -> bytes:
        if part == "label":
            return ALICE.sign("mm/1 nodeinfo", *parts)
        return ALICE.sign(
            "mm/1 initiate", *(p + b"?" if name == part else p for name, p in zip(parts_of, parts, strict=True))
        )

    assert dial_by_hand(sign, RECORDS[ALICE.sign_id]) == "bad-signature"


def test_a_signature_for_another_server_is_not_good_here() -> None:
    """Eve, dialled by Alice, passes Alice's signature on to Bob."""
    relayed = dial_by_hand(
        lambda parts: ALICE.sign("mm/1 initiate", *parts[:2], EVE.sign_key, *parts[3:]), RECORDS[ALICE.sign_id]
    )
    assert relayed == "bad-signature"


# The initiator's identity


def test_the_initiators_identity_is_not_visible_before_initiate_is_opened() -> None:
    pair = Pair()
    pair.ready()
    record = RECORDS[ALICE.sign_id]
    assert all(mark in record for mark in (ALICE.sign_key, ALICE.box_key, b"192.0.2.7"))
    marks = [ALICE.sign_key, ALICE.box_key, ALICE.sign_id.encode(), ALICE.box_id.encode(), b"192.0.2.7", record[-64:]]
    wire = pair.hello_frame + pair.cookie_frame + pair.initiate_frame + pair.ready_frame
    assert not any(mark in wire for mark in marks)


def test_initiate_is_not_decryptable_without_the_servers_short_secret() -> None:
    """Not with C', nor with any long-term secret, of the client or the server, nor with HELLO's key."""
    pair = run(3)
    initiate = packets.unpack_initiate(pair.initiate_frame)
    publics = [initiate.client_short, ALICE.box_key, BOB.box_key, EVE.box_key]
    secrets = [ALICE.box_secret, BOB.box_secret, EVE.box_secret]
    for public in publics:
        for secret in secrets:
            with pytest.raises(CryptoError):
                crypto_box_open_easy_afternm(initiate.box, INITIATE_NONCE, crypto_box_beforenm(public, secret))


def test_two_hellos_of_one_client_have_nothing_in_common() -> None:
    first, second = Pair("one").hello(), Pair("two").hello()
    common = [n for n in range(4, 224) if first[n : n + 4] == second[n : n + 4]]
    assert not common
