"""One process of a measurement: the broker, the receiver or the sender of one peer, steered over stdin and stdout.

::

    runner -> process   sender: one line, the receiver's info; one line, go.   everybody: end of stdin, leave
    process -> runner   one JSON line an event: ready | warm | result
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contract import Client, Info, Job, Peer, Sink, now, pipelined
from benchmarks.registry import load
from benchmarks.workloads import DEPTHS, OUTSTANDING, PIPELINING, WARM_UP, workload

ROLES = ("broker", "receiver", "sender")
Result = dict[str, Any]
Connect = Callable[[], Awaitable[Client]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    job = Job(workload(options.workload), options.count, options.port, options.folder, options.tls)
    peer = load(options.peer)(job)
    if options.role == "broker":
        _broker(peer)
        return
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        runner.run(_receiver(peer) if options.role == "receiver" else _sender(peer))


def loop_factory(kind: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """All peers that live on asyncio run on the same kind of loop."""
    if kind == "uvloop":
        import uvloop

        return uvloop.new_event_loop
    return asyncio.new_event_loop


def _broker(peer: Peer) -> None:
    process = subprocess.Popen(peer.broker(), stdin=subprocess.DEVNULL, stdout=sys.stderr, cwd=peer.job.folder)
    try:
        _wait_for_port(peer.job.port, process)
        _report("ready", pid=process.pid)
        sys.stdin.read()
    finally:
        process.kill()
        process.wait()


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"the broker ended with code {process.returncode}")


async def _receiver(peer: Peer) -> None:
    info = await peer.serve(Sink(peer.job, _report))
    _report("ready", pid=os.getpid(), info=info)
    await _line()
    _leave()


async def _sender(peer: Peer) -> None:
    info: Info = json.loads(await _line())

    async def connect() -> Client:
        return await peer.connect(info)

    client = await connect()  # held to the end: a client that is dropped may drop what it has not yet sent
    result = await MEASURES[peer.job.workload.name](client, peer.job, connect)
    _report("result", **result)
    await _line()
    _leave()


async def _one_way(client: Client, job: Job, connect: Connect) -> Result:
    payload = os.urandom(job.workload.size)
    await client.push(WARM_UP, payload)
    await _ready()
    start = now()
    await client.push(job.count, payload)
    return {"start": start, "end": now()}


async def _durable(client: Client, job: Job, connect: Connect) -> Result:
    payload = os.urandom(job.workload.size)
    await client.deliver_all(WARM_UP, payload)
    await _ready()
    start = now()
    await client.deliver_all(job.count, payload)
    return {"start": start, "end": now()}


async def _round_trips(client: Client, job: Job, connect: Connect) -> Result:
    payload = await _warm_up(client, job)
    await _ready()
    return await _timed(lambda: client.request(payload), job.count, 1)


async def _requests(client: Client, job: Job, connect: Connect) -> Result:
    payload = await _warm_up(client, job)
    await _ready()
    start = now()
    await client.requests(job.count, payload, OUTSTANDING)
    return {"start": start, "end": now()}


async def _sessions(client: Client, job: Job, connect: Connect) -> Result:
    payload = await _warm_up(client, job)
    await client.close()

    async def session() -> None:
        fresh = await connect()
        await fresh.request(payload)
        await fresh.close()

    await _ready()
    return await _timed(session, job.count, 1)


async def _pipelining(client: Client, job: Job, connect: Connect) -> Result:
    payload = await _warm_up(client, job)
    await client.deliver(payload)
    await _ready()
    start, kinds = now(), {"request": lambda: client.request(payload), "durable": lambda: client.deliver(payload)}
    depths: Result = {kind: {} for kind in kinds}
    for kind, operation in kinds.items():
        for depth in DEPTHS:
            depths[kind][str(depth)] = await _cost(operation, job.count * (1 if depth == 1 else 10), depth)
    return {"start": start, "end": now(), "depths": depths}


MEASURES: dict[str, Callable[[Client, Job, Connect], Awaitable[Result]]] = {
    "W1": _one_way,
    "W2a": _round_trips,
    "W2b": _requests,
    "W3": _one_way,
    "W4": _sessions,
    "W5": _durable,
    "R1": _one_way,
    "R2": _round_trips,
    "R5": _durable,
    PIPELINING.name: _pipelining,
}


async def _warm_up(client: Client, job: Job) -> bytes:
    payload = os.urandom(job.workload.size)
    for _ in range(WARM_UP):
        if await client.request(payload) != payload:
            raise ValueError("the reply is not the request's payload")
    return payload


async def _cost(operation: Callable[[], Awaitable[object]], count: int, depth: int) -> Result:
    """Microseconds a message: of the whole, and of each from its start to its end."""
    count = max(count, 2 * depth)
    timed = await _timed(operation, count, depth)
    per_message = (timed["end"] - timed["start"]) / count
    costs = {"per_message": per_message, "p50": timed["p50"], "p99": timed["p99"]}
    return {name: round(seconds * 1e6, 2) for name, seconds in costs.items()} | {"count": count}


async def _timed(operation: Callable[[], Awaitable[object]], count: int, depth: int) -> Result:
    seconds: list[float] = []

    async def timed() -> None:
        start = now()
        await operation()
        seconds.append(now() - start)

    start = now()
    await pipelined(timed, count, depth)
    end = now()
    seconds.sort()
    return {"start": start, "end": end, "p50": seconds[count // 2], "p99": seconds[count * 99 // 100]}


async def _ready() -> None:
    _report("ready", pid=os.getpid())
    await _line()


async def _line() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


def _leave() -> None:
    """Without tidying up: a library's threads must not hold the next measurement back."""
    sys.stdout.flush()
    os._exit(0)


def _report(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.driver", description=__doc__.partition("\n")[0])
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("peer")
    parser.add_argument("workload")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--tls", type=Path, required=True)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    return parser


if __name__ == "__main__":
    main()
