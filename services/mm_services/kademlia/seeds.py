"""Collects the nodes to ask first: configured ones, contacts of the last run, and records with a DHT address."""

import asyncio
from collections.abc import Iterable
from typing import Final

from mm_services.kademlia.protocol.address import Address, host_text, is_usable, of_text, parse_uri
from mm_services.kademlia.protocol.joining import Seed
from mm_services.kademlia.protocol.peers import KnownNodes
from mmplatform import host_names
from mmplatform.addresses import Reach
from mmplatform.codec import Decoder, Struct, encode
from mmplatform.errors import CodecError, LocalError
from mmplatform.identity.keys import raw_key
from mmplatform.identity.nodeinfo import NodeInfo
from mmplatform.storage.contract import Storage

SAVED: Final = 64  # contacts kept over a restart
RESOLVE: Final = 5.0  # seconds for the name of a configured node
STATE: Final = b"state"

Seeds = list[Seed]


class SavedContact(Struct, array_like=True):
    """A contact as it is saved for the next run."""

    sign_key: bytes
    host: bytes
    port: int


class SavedState(Struct, array_like=True):
    """The ports and contacts of the last run, as they are saved."""

    ports: list[int]
    contacts: list[SavedContact]


_states = Decoder(SavedState, 64 * 1024)


async def restore(storage: Storage) -> tuple[list[int], Seeds]:
    """Load the ports and contacts of the last run; a damaged state is ignored, it was no more than a hint."""
    saved = await storage.get(STATE)
    try:
        state = _states.decode(saved) if saved is not None else SavedState([], [])
    except CodecError:
        return [], []
    kept = [(Address(kept.host, kept.port), kept.sign_key) for kept in state.contacts]
    return [p for p in state.ports if 0 <= p < 65536], [(a, k) for a, k in kept if is_usable(a) and len(k) == 32]


async def save(storage: Storage, ports: list[int], peers: KnownNodes) -> None:
    """Save contacts of all buckets: neighbours to find our place, distant ones in case the neighbours are gone."""
    entries = [entry.contact for table in peers.tables.values() for entry in table]
    step = max(1, len(entries) // SAVED)
    contacts = [SavedContact(c.sign_key, c.address.host, c.address.port) for c in entries[::step][:SAVED]]
    await storage.put(STATE, encode(SavedState(ports, contacts)))


def sort_out(uris: Iterable[str]) -> tuple[Seeds, list[str]]:
    """Split URIs into those with an IP address, ready to be asked, and those with a name. Raises LocalError."""
    ready: Seeds = []
    names: list[str] = []
    for uri in uris:
        try:
            host, port = parse_uri(uri)
        except ValueError as error:
            raise LocalError(str(error)) from None
        try:
            ready.append((of_text(host, port), None))
        except ValueError:
            names.append(uri)
    return ready, names


async def resolve(uri: str) -> list[Address]:
    """Return the addresses of a ``kad://`` URI, none when its host name is not known. Raises LocalError."""
    try:
        host, port = parse_uri(uri)
        async with asyncio.timeout(RESOLVE):
            found = await host_names.look_up(host, port)
    except ValueError as error:
        raise LocalError(str(error)) from None
    except (OSError, TimeoutError):
        return []
    addresses = dict.fromkeys(of_text(address, port) for address in found)
    return [address for address in addresses if is_usable(address)]


def seeds_of(info: NodeInfo, reach: Reach) -> Seeds:
    """Return the DHT addresses in a record to which ``reach`` lets us go, with its key."""
    found: Seeds = []
    for uri in info.connection_info:
        if uri.startswith("kad://"):
            try:
                address = of_text(*parse_uri(uri))
            except ValueError:
                continue  # a host name, which its owner can make point anywhere
            if is_usable(address) and reach.admits(host_text(address.host), address.port):
                found.append((address, raw_key(info.sign_id)))
    return found
