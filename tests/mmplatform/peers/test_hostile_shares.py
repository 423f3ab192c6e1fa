"""A stranger that takes all it can get of what strangers share, and one that asks for little (SECURITY.rst)."""

from collections.abc import Callable

from mmplatform.delivery.wire import Batch, Frame, Piece, Record, encode_packet
from mmplatform.plugins.transport import LENGTH_LIMIT
from tests.support.attackers import Attacker, Victim
from tests.support.waiting import pace, until
from tests.support.world import identity

BIG = 2**52  # milliseconds: messages that never expire
PIECE = 200_000


async def send_message(victim: Victim, one: Attacker, size: int, announced: int) -> None:
    """Send ``size`` bytes of a message of ``announced`` bytes, as long as the victim takes them."""
    whole = encode_packet(Record(1, BIG, "large", "ms", b"\xc6" + announced.to_bytes(4) + bytes(announced)))
    before = victim.links[-1].bytes_in
    for at in range(0, min(size, len(whole)), PIECE):
        if victim.links[-1].error is not None:
            return
        piece = Piece(1, at, len(whole), whole[at : at + PIECE])
        one.send(one.sealed(Frame(0, 1, [], [Batch(2, 77, 1, [], [piece])], [], [], [])))
        await until(lambda: victim.links[-1].error or one.writer.transport.get_write_buffer_size() < 2 * PIECE)
    await until(lambda: victim.links[-1].error or victim.links[-1].bytes_in - before >= min(size, len(whole)))


async def test_half_sent_messages_of_one_address_leave_room_for_the_message_of_another_stranger(
    victim: Victim, attacker: Callable[..., Attacker]
) -> None:
    for number, size in ((66, 44_000_000), (67, 39_800_000)):  # together they filled all that strangers had, once
        await send_message(victim, await attacker(number).established(), size, 60_000_000)
    honest = await attacker(68).established()
    await send_message(victim, honest, 700_000, 600_000)
    await until(lambda: victim.public or victim.links[-1].error is not None)
    assert victim.links[-1].error is None
    assert victim.public == [bytes(600_000)]
    victim.public.clear()


async def test_the_idlest_of_an_address_that_has_more_than_its_share_is_closed_and_told_why(
    victim: Victim, attacker: Callable[..., Attacker]
) -> None:
    for number in range(66, 78):  # 10.8 MB of them all
        await send_message(victim, await attacker(number).established(), 900_000, 1_000_000)
    first, last = victim.links[1], victim.links[-1]
    assert str(first.error).startswith("overloaded")
    assert last.error is None


async def test_half_sent_frames_of_one_address_have_a_bound_and_the_idlest_gives_way(victim: Victim) -> None:
    many: list[Attacker] = []
    for number in range(45):  # of 256 KB each: more than the share of an address
        many.append(await Attacker(victim, identity(100 + number)).established())
        many[-1].writer.write((LENGTH_LIMIT).to_bytes(4) + bytes(LENGTH_LIMIT - 1))
        await many[-1].writer.drain()
    first, last = victim.links[1], victim.links[-1]
    sent = victim.sent
    await until(lambda: victim.sent > sent + 20)  # the victim has read all of it
    assert first.error is not None
    assert last.error is None
    for one in many:
        await one.gone()


async def test_links_of_one_address_by_the_hundred_leave_room_for_everybody(victim: Victim) -> None:
    links = victim.node.parts.links
    links.descriptors = 200
    many = [await Attacker(victim, identity(100 + number)).established() for number in range(80)]
    await until(lambda: victim.links[-1].ready)
    await pace(0)
    assert len([link for link in links._open if link.ready]) <= 1 + 64, "a network has as many as that, and no more"
    assert victim.links[-1].error is None, "who comes last has a place"
    for one in many:
        await one.gone()
