"""Real servers of Redis that stand in for each other: a primary with replica and sentinels, and a Redis Cluster."""

import asyncio
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.redis_server import SERVER
from tests.support.waiting import until

PASSWORD = "open-sesame"  # of servers on this machine that live for seconds
SENTINEL_PASSWORD = "watch-word"
SERVICE = "mm-primary"


class Member:
    """One process of redis-server at a port of 127.0.0.1, with a folder of its own."""

    def __init__(self, folder: Path, *lines: str, sentinel: bool = False, password: str = PASSWORD) -> None:
        self.port, self.password = free_port(), password
        folder.mkdir()
        self._config = folder / "redis.conf"
        basics = [f"port {self.port}", "bind 127.0.0.1", f"dir {folder}", f"requirepass {password}", "loglevel warning"]
        if not sentinel:
            basics += [f"masterauth {password}", "appendonly yes", "appendfsync always", 'save ""']
        self._config.write_text("\n".join([*basics, *lines, ""]))
        self._more = ["--sentinel"] if sentinel else []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Member":
        assert SERVER is not None
        self._process = subprocess.Popen([SERVER, str(self._config), *self._more], stdout=subprocess.DEVNULL)
        return self

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def command(self, *words: str) -> str:
        """What it answers to one command, "" when nobody answers."""
        process = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(self.port), "-a", self.password, "--no-auth-warning", *words,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        answer, _ = await process.communicate()
        return answer.decode().strip()

    async def started(self) -> None:
        async def answers() -> bool:
            return await self.command("PING") == "PONG"

        await until(answers, 20)


class Sentinels:
    """A primary and its replica, and three sentinels, which notice in a second that the primary is gone."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-sentinels-"))
        self.primary = Member(self.folder / "one")
        self.replica = Member(self.folder / "two", f"replicaof 127.0.0.1 {self.primary.port}")
        watching = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {self.primary.port} 2",
            f"sentinel auth-pass {SERVICE} {PASSWORD}",
            f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
            f"sentinel down-after-milliseconds {SERVICE} 1000",
            f"sentinel failover-timeout {SERVICE} 5000",
        )
        self.sentinels = [
            Member(self.folder / f"s{number}", *watching, sentinel=True, password=SENTINEL_PASSWORD)
            for number in range(3)
        ]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"redis+sentinel://:{PASSWORD}@{hosts}/{SERVICE}/0?sentinel-password={SENTINEL_PASSWORD}"

    async def start(self) -> "Sentinels":
        """Return when the replica follows and the sentinels know each other."""
        for data in (self.primary, self.replica):
            data.start()
            await data.started()
        await until(self._follows, 20)
        for sentinel in self.sentinels:
            sentinel.start()
        await until(self._watched, 30)
        return self

    async def primary_port(self) -> int:
        """Return where the primary is, as a sentinel sees it."""
        answer = await self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(answer.split()[-1]) if answer else 0

    def remove(self) -> None:
        for each in (*self.sentinels, self.primary, self.replica):
            each.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _follows(self) -> bool:
        return "master_link_status:up" in await self.replica.command("INFO", "replication")

    async def _watched(self) -> bool:
        for sentinel in self.sentinels:
            words = (await sentinel.command("SENTINEL", "MASTER", SERVICE)).split()
            known = dict(zip(words[::2], words[1::2], strict=False))
            if (known.get("num-slaves"), known.get("num-other-sentinels")) != ("1", "2"):
                return False
        return True


class RedisNodes:
    """A Redis Cluster: three primaries, each with a replica if asked for."""

    def __init__(self, replicas: int = 0) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mm-cluster-"))
        self._replicas = replicas
        self.members = [
            Member(
                self.folder / f"n{number}", "cluster-enabled yes", f"cluster-port {free_port()}",
                "cluster-node-timeout 1500",
            )
            for number in range(3 * (1 + replicas))
        ]  # fmt: skip

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"redis+cluster://:{PASSWORD}@{hosts}"

    async def start(self) -> "RedisNodes":
        """Return when every node knows who has which slot."""
        for member in self.members:
            member.start()
        for member in self.members:
            await member.started()
        hosts = [f"127.0.0.1:{member.port}" for member in self.members]
        create = ("--cluster", "create", *hosts, "--cluster-replicas", str(self._replicas), "--cluster-yes")
        await self.members[0].command(*create)
        await until(self._ready, 30)
        return self

    async def owner(self, key: str) -> Member:
        """Return the node that has ``key``: the only one that does not send us elsewhere."""
        for member in self.members:
            answer = await member.command("EXISTS", key)
            if answer in ("0", "1"):
                return member
        raise RuntimeError(f"no node has {key}")

    def remove(self) -> None:
        for member in self.members:
            member.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _ready(self) -> bool:
        for member in self.members:
            about = await member.command("CLUSTER", "INFO")
            if "cluster_state:ok" not in about or f"cluster_known_nodes:{len(self.members)}" not in about:
                return False
            if self._replicas and (await member.command("INFO", "replication")).count("link_status:down"):
                return False
        return True


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
