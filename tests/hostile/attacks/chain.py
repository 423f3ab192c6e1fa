"""What a stranger may ask the face of a chain at a relay of RMB, which wants no proof of anybody."""

import asyncio
import base64
import os
import time
from collections.abc import Callable
from itertools import count, cycle

from mm_relay.rmb.chain.blocks import first_block
from mm_transports.rmb.protocol.chain_storage import ACCOUNTS, TWINS
from tests.hostile.attack import Attack
from tests.hostile.guest import reach
from tests.hostile.raw_link import Traffic
from tests.hostile.registry import RMB, attack
from tests.hostile.twin_guest import call
from tests.hostile.twins import ABSENT, ATTACKERS, MISSING, keys_of
from tests.hostile.web_socket_wire import TEXT, WebSocketWire, framed, request
from tests.support.rmb_extrinsics import call_of, extrinsic_of
from tests.support.rmb_world import storage_key

KEYS = 64  # of the storage in one call


class Asker(WebSocketWire):
    """One connection; answers are counted, and dropped."""

    def __init__(self, traffic: Traffic) -> None:
        super().__init__(traffic)
        self._answers: asyncio.Queue[bytes] = asyncio.Queue(maxsize=64)

    def message(self, payload: bytes) -> None:
        if not self._answers.full():
            self._answers.put_nowait(payload)

    async def said(self) -> bytes:
        return await self._answers.get()


async def chain(it: Attack) -> Asker:
    """Connect to the face of the chain."""
    asker = Asker(it.traffic)
    await reach(asker, it.target.port, it.source, it.target.folder)
    it.keep(asker)
    await asker.upgrade(request("/chain") + b"\r\n")
    return asker


async def pour(it: Attack, make: Callable[[], bytes], askers: int = 4) -> None:
    """Write calls as fast as they are taken, on a few connections; who is cut off comes again."""
    await it.go()

    async def one() -> None:
        asker = await chain(it)
        while not it.over:
            await asker.write(make())

    await it.several(one, askers)


@attack(RMB)
async def chain_metadata(it: Attack) -> None:
    """The call with the longest answer."""
    chunk = framed(call("state_getMetadata"), TEXT) * 100
    await pour(it, lambda: chunk)


@attack(RMB, quick=False)
async def chain_metadata_connections(it: Attack) -> None:
    """The same call, once a connection, as genuine clients make it."""
    await it.go()

    async def one() -> None:
        asker = await chain(it)
        await asker.write(framed(call("state_getMetadata"), TEXT))
        await it.within(asker.said())
        asker.abort()

    await it.several(one, 16)


@attack(RMB)
async def chain_small_calls(it: Attack) -> None:
    """The smallest calls that there are, and what is none."""
    chunk = (framed(call("x"), TEXT) + framed(b"{}", TEXT) + framed(b"", TEXT)) * 500
    await pour(it, lambda: chunk)


@attack(RMB)
async def chain_many_keys(it: Attack) -> None:
    """Calls with as many keys as there may be, of twins that there are not."""
    numbers = count(MISSING)

    def make() -> bytes:
        keys = [storage_key(TWINS, next(numbers).to_bytes(4, "little")) for _ in range(KEYS)]
        return framed(call("state_queryStorageAt", keys), TEXT)

    await pour(it, make)


@attack(RMB, quick=False)
async def chain_accounts_of_nobody(it: Attack) -> None:
    """Calls with as many keys, of accounts that nobody has."""

    def make() -> bytes:
        keys = [storage_key(ACCOUNTS, os.urandom(32)) for _ in range(KEYS)]
        return framed(call("state_queryStorageAt", keys), TEXT)

    await pour(it, make)


@attack(RMB, quick=False)
async def chain_bad_calls(it: Attack) -> None:
    """Calls that are a heap of brackets, of numbers, of escapes, and longer than they may be."""
    texts = cycle((
        b"[" * 16_000, b'{"a":' * 3000, b'{"method":"x","id":' + b"1" * 4000 + b"}", b'"' + b"\\u0000" * 2600 + b'"',
        b"\xff" * 16_000, b" " * 60_000, b'{"method":"state_getStorage","params":[' + b"[]," * 5000 + b"[]]}",
    ))  # fmt: skip
    await pour(it, lambda: framed(next(texts), TEXT))


@attack(RMB, quick=False)
async def chain_subscriptions(it: Attack) -> None:
    """Subscribes until nothing more is taken, to what is told once."""
    chunk = framed(call("state_subscribeStorage", [storage_key(TWINS, ABSENT.to_bytes(4, "little"))]), TEXT) * 100
    await pour(it, lambda: chunk)


@attack(RMB, quick=False)
async def chain_unread(it: Attack) -> None:
    """Asks for the longest answers, and reads none."""
    chunk = framed(call("state_getMetadata"), TEXT) * 100
    await it.go()

    async def one() -> None:
        asker = await chain(it)
        asker.transport.pause_reading()
        while not it.over:
            await asker.write(chunk)

    await it.several(one, 64)


@attack(RMB, quick=False)
async def chain_crowd(it: Attack) -> None:
    """More connections than may be without a proof, which ask for nothing."""
    await it.go()

    async def one() -> None:
        asker = await chain(it)
        await asker.gone.wait()
        await it.pause(0.05)

    await it.several(one, 1000)


@attack(RMB)
async def chain_forged_changes(it: Attack) -> None:
    """Changes of somebody honest with signatures that are none of his."""
    keys = keys_of(ABSENT)
    made = extrinsic_of(keys, nonce(), call_of(b"evil.example", None), first_block(b"another relay").hash)
    chunk = framed(call("author_submitExtrinsic", f"0x{made.hex()}"), TEXT) * 50
    await pour(it, lambda: chunk)


@attack(RMB)
async def chain_changes(it: Attack) -> None:
    """Changes of hundreds of twins of its own, each of which writes the file anew."""
    changes = cycle([change(it, number, f"n{number}.example") for number in ATTACKERS[120:]])
    await pour(it, lambda: framed(call("author_submitExtrinsic", next(changes)), TEXT))


def change(it: Attack, number: int, relay: str) -> str:
    """Return the change that has a twin at this relay, signed for the relay under attack."""
    first = first_block(base64.urlsafe_b64decode(it.target.key + "=")).hash
    return f"0x{extrinsic_of(keys_of(number), nonce(), call_of(relay.encode(), None), first).hex()}"


def nonce() -> int:
    """Return what changes are counted with now."""
    return int(time.time())
