"""eclipse-zenoh, peer to peer over TLS: reliable puts that block when congested; queryables for requests.

Shared memory and scouting are off: the first bypasses the encrypted link, the second would find other processes.
"""

import json
import threading

import zenoh

from benchmarks import tls
from benchmarks.contract import Client, Info, Peer, Sink

KEY = "bench"


class ZenohTls(Peer):
    async def serve(self, sink: Sink) -> Info:
        self._session = zenoh.open(self._configuration("listen"))
        if self.job.workload.to_receiver:
            self._keep: object = self._session.declare_subscriber(KEY, lambda sample: sink(sample.payload.to_bytes()))
        else:
            self._keep = self._session.declare_queryable(KEY, echo)
        return {}

    async def connect(self, info: Info) -> Client:
        return ZenohClient(zenoh.open(self._configuration("connect")), self.job.workload.to_receiver)

    def _configuration(self, side: str) -> zenoh.Config:
        settings: dict[str, object] = {
            "mode": "peer",
            "scouting/multicast/enabled": False,
            "scouting/gossip/enabled": False,
            "transport/shared_memory/enabled": False,
            "listen/endpoints": [],
            f"{side}/endpoints": [f"tls/localhost:{self.job.port}"],
            "transport/link/tls/root_ca_certificate": str(self.job.tls / tls.AUTHORITY),
        }
        if side == "listen":
            settings["transport/link/tls/listen_certificate"] = str(self.job.tls / tls.CERTIFICATE)
            settings["transport/link/tls/listen_private_key"] = str(self.job.tls / tls.KEY)
        configuration = zenoh.Config()
        for name, value in settings.items():
            configuration.insert_json5(name, json.dumps(value))
        return configuration


def echo(query: zenoh.Query) -> None:
    if query.payload is not None:
        query.reply(KEY, query.payload.to_bytes())


def _matching(publisher: zenoh.Publisher) -> bool:
    status: object = publisher.matching_status  # typed bool, but an object with .matching since 1.0
    return bool(getattr(status, "matching", status))


class ZenohClient(Client):
    def __init__(self, session: zenoh.Session, one_way: bool) -> None:
        self._session = session
        if one_way:
            self._publisher = session.declare_publisher(
                KEY, congestion_control=zenoh.CongestionControl.BLOCK, reliability=zenoh.Reliability.RELIABLE
            )
            while not _matching(self._publisher):
                threading.Event().wait(0.01)

    async def push(self, count: int, payload: bytes) -> None:
        put = self._publisher.put
        for _ in range(count):
            put(payload)

    async def request(self, payload: bytes) -> bytes:
        while True:
            for reply in self._session.get(KEY, payload=payload):
                if reply.ok is not None:
                    return reply.ok.payload.to_bytes()

    async def requests(self, count: int, payload: bytes, outstanding: int) -> None:
        free = threading.Semaphore(outstanding)
        for _ in range(count):
            free.acquire()
            self._session.get(KEY, lambda reply: free.release(), payload=payload)
        for _ in range(outstanding):
            free.acquire()

    async def close(self) -> None:
        self._session.close()  # type: ignore[no-untyped-call]
