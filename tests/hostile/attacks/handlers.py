"""What waits for handlers, or for a reader: requests to slow ones, replies that nobody reads, failures, refusals."""

from collections.abc import Callable
from itertools import count

from mmplatform.codec import pack
from mmplatform.delivery.wire import Batch, Event, Record, Request
from mmplatform.messaging.series import Pull
from tests.hostile.attack import Attack
from tests.hostile.attacks.delivery import soon
from tests.hostile.attacks.streams import blob
from tests.hostile.raw_link import RawLink, frame
from tests.hostile.registry import attack

BLOB = blob(60_000)


def messages(topic: str, payload: bytes, each: int) -> Callable[[RawLink], bytes]:
    """Return what makes frames of durable messages to one topic, numbered anew on each link."""
    numbers: dict[RawLink, tuple[int, count[int]]] = {}

    def make(link: RawLink) -> bytes:
        epoch, seqs = numbers.setdefault(link, (len(numbers) + 1, count(1)))
        records = [Record(next(seqs), soon(), topic, "ms", payload) for _ in range(each)]
        return link.seal(frame(batches=[Batch(2, epoch, 1, records, [])]))

    return make


def requests(topic: str, payload: bytes, each: int, confirming: bool = False) -> Callable[[RawLink], bytes]:
    """Return what makes frames of requests; ``confirming``: each waits for nothing of those before it."""
    number = 1

    def make(link: RawLink) -> bytes:
        nonlocal number
        asked = [Request(number + n, topic, "ms", payload) for n in range(each)]
        floor, number = number, number + each
        return link.seal(frame(requests=asked, floor=floor if confirming else 0))

    return make


def events(topic: str, payload: bytes, each: int) -> Callable[[RawLink], bytes]:
    """Return what makes frames of events."""
    return lambda link: link.seal(frame(events=[Event(topic, "ms", payload)] * each))


@attack()
async def requests_to_hanging(it: Attack) -> None:
    """Large requests to a handler that never ends."""
    await it.go()
    await it.flood(requests("hang", BLOB, 4))


@attack(quick=False)
async def messages_to_hanging(it: Attack) -> None:
    """Large durable messages to a handler that never ends."""
    await it.go()
    await it.flood(messages("hang", BLOB, 4))


@attack(quick=False)
async def events_to_hanging(it: Attack) -> None:
    """Large events to a handler that never ends."""
    await it.go()
    await it.flood(events("hang", BLOB, 4))


@attack()
async def stale_requests(it: Attack) -> None:
    """Requests to a handler that takes its time, of which none is waited for any more."""
    await it.go()
    await it.flood(requests("work", blob(1000), 50, confirming=True))


@attack()
async def queue_before_friends(it: Attack) -> None:
    """Thousands of tiny messages to the one handler that friends need as well."""
    await it.go()
    await it.flood(messages("work", b"\xc0", 100))


@attack(quick=False)
async def queue_of_many_keys(it: Attack) -> None:
    """The same by fifty keys, so that no turn between senders helps alone."""
    await it.go()
    links = await it.links(50)
    makers = [(link, messages("work", b"\xc0", 20)) for link in links]
    while not it.over and links:
        for link, make in makers:
            if not link.gone.is_set():
                await it.within(link.put(make))
        await it.pause(0.05)


@attack()
async def unconfirmed_replies(it: Attack) -> None:
    """Ten keys ask for large replies and confirm none of them."""
    payload = blob(200_000)

    async def one_key() -> None:
        link = await it.link()
        make = requests("echo", payload, 1)
        while not it.over:
            await link.put(make)

    await it.go()
    await it.several(one_key, 10)


@attack(quick=False)
async def unread_replies(it: Attack) -> None:
    """Asks for large replies and reads none of them."""
    await it.go()
    links = await it.links(16)

    async def one_key() -> None:
        if not links:
            await it.rest()
            return
        link = links.pop()
        link.transport.pause_reading()
        make = requests("echo", BLOB, 4)
        while not it.over:
            await link.put(make)

    await it.several(one_key, 16)


def series(topic: str, numbers: range) -> bytes:
    """Return a frame that asks for eight series, and pulls as many batches of each."""
    pulls = [pack(Pull(name, number, b"\xc0" if number == 1 else b"")) for name in range(8) for number in numbers]
    return frame(requests=[Request(1 + n, topic, "ms.series", pull) for n, pull in enumerate(pulls)])


@attack()
async def unread_series(it: Attack) -> None:
    """Many pull all they may of series that never pause, and read nothing."""
    await it.go()

    async def one_key() -> None:
        link = await it.link()
        link.transport.pause_reading()
        await link.send(series("rows", range(1, 9)))
        await it.pause(0.5)
        link.abort()

    await it.several(one_key, 16)


@attack(quick=False)
async def lost_series(it: Attack) -> None:
    """Fresh keys ask for series in which nothing comes, and go."""
    await it.go()

    async def one_key() -> None:
        link = await it.link()
        await link.send(series("news", range(1, 3)))
        await it.pause(0.05)
        link.abort()

    await it.several(one_key, 8)


@attack()
async def failures(it: Attack) -> None:
    """Messages to a handler that raises at each of them."""
    await it.go()
    await it.flood(messages("fail", b"\xc0", 50))


@attack(quick=False)
async def refusals(it: Attack) -> None:
    """Messages to a handler that refuses each of them."""
    await it.go()
    await it.flood(messages("refuse", b"\xc0", 50))


@attack(quick=False)
async def unhandled(it: Attack) -> None:
    """Messages of 1 KB that nobody listens to."""
    await it.go()
    await it.flood(messages("nobody", blob(1000), 50))


@attack(quick=False)
async def small_messages(it: Attack) -> None:
    """Tiny durable messages that are handled at once, each of which is noted on disk."""
    await it.go()
    await it.flood(messages("chat", b"\xc0", 1))


@attack(quick=False)
async def large_messages(it: Attack) -> None:
    """Durable messages of 120 KB that are handled at once."""
    await it.go()
    await it.flood(messages("chat", blob(120_000), 2))


@attack()
async def unasked_answers(it: Attack) -> None:
    """Has a bot answer, and never acknowledges: what it answers waits for each of many keys."""

    async def one_key() -> None:
        link = await it.link()
        make = messages("bot", b"\xc0", 50)
        for _ in range(20):
            await link.put(make)
        await it.pause(0.2)
        link.abort()

    await it.go()
    await it.several(one_key, 4)
