"""A forked child has nothing of the node that its parent runs, and disturbs nothing of it."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

HEAD = """
import asyncio, os, signal, sys
from mmplatform import Platform, WrongProcess

LISTEN = ["tcp://127.0.0.1:0"]

def node(name, **options):
    return Platform(os.path.join(sys.argv[1], name), connection_info=LISTEN, transports=["tcp"], **options)

def places(node):
    return node.directory.own_record.connection_info
"""


def run(folder: Path, program: str) -> list[str]:
    """Run a program of which forks are a part, and return what it prints."""
    command = [sys.executable, "-c", HEAD + textwrap.dedent(program), str(folder)]
    made = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip
    try:
        out, err = made.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):  # children that a failure left
            os.killpg(made.pid, signal.SIGKILL)
    assert made.returncode == 0, err
    assert "Traceback" not in err, err
    return out.split("\n")[:-1]


def test_a_child_keeps_neither_the_folder_nor_the_port_of_a_node_that_has_stopped(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        async def main():
            ours, theirs = os.pipe()
            async with node("a") as first:
                before = places(first)
                child = os.fork()
                if not child:
                    os.close(theirs)
                    os.read(ours, 1)  # until the parent ends
                    os._exit(0)
            async with node("a") as second:
                print(places(second) == before, os.waitpid(child, os.WNOHANG) == (0, 0))
            os.close(theirs)
            os.waitpid(child, 0)

        asyncio.run(main())
        """,
    )
    assert told == ["True True"]


def test_a_child_keeps_neither_the_folder_nor_the_port_of_a_node_that_was_killed(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        ours, theirs = os.pipe()

        async def killed():
            async with node("a") as first:
                before = places(first)
                child = os.fork()
                if child:
                    os.read(ours, 1)  # it is in its loop below
                    os.write(theirs, f"{child} {before[0]} ".encode())
                    os.kill(os.getpid(), signal.SIGKILL)
                os.write(theirs, b".")
                while True:
                    signal.sigtimedwait([], 0.1)

        async def next_one():
            child, before = os.read(ours, 100).decode().split()
            async with node("a") as second:
                print(places(second) == (before,))
            os.kill(int(child), signal.SIGKILL)

        parent = os.fork()
        if not parent:
            asyncio.run(killed())
        os.waitpid(parent, 0)
        asyncio.run(next_one())
        """,
    )
    assert told == ["True"]


def test_peers_hear_the_end_of_a_node_that_was_killed_while_its_child_lives_on(tmp_path: Path) -> None:
    """A node that stops says so itself; of one that is killed the end of its connections is all that is heard."""
    told = run(
        tmp_path,
        """
        ours, theirs = os.pipe()  # the child lives until its other end is closed everywhere
        tickets, ticket = os.pipe()
        pids, pid = os.pipe()

        async def alice():
            async with node("a") as alice:
                await alice.connect(await alice.add(os.read(tickets, 4096).decode()))
                child = os.fork()
                if child:
                    os.write(pid, str(child).encode())
                    os.kill(os.getpid(), signal.SIGKILL)
                os.close(theirs)
                os.read(ours, 1)
                os._exit(0)

        async def bob():
            async with node("b") as bob:
                gone = asyncio.Event()
                bob.on("disconnected", lambda peer, reason: gone.set())
                os.write(ticket, bob.ticket().encode())
                async with asyncio.timeout(5):  # a link that is merely silent is given up after 14 s
                    await gone.wait()
                os.kill(int(os.read(pids, 100)), 0)  # raises if nobody is there
                print("gone")

        parent = os.fork()
        asyncio.run(bob() if parent else alice())
        os.close(theirs)
        os.waitpid(parent, 0)
        """,
    )
    assert told == ["gone"]


def test_a_child_that_uses_and_closes_and_leaves_disturbs_nobody(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        async def attempt(call):
            try:
                await call
            except WrongProcess as error:
                print("forked from" in str(error), flush=True)

        async def child(alice, peer):
            await attempt(alice.messaging.send("n", peer, "of the child"))
            await attempt(alice.messaging.send("n", payload="of the child"))
            await attempt(alice.messaging.request("n", peer))
            await attempt(alice.connect(peer))
            await attempt(alice.stop())
            sys.exit(0)  # by way of `async with`, of all finalizers, and of the copy of the loop

        async def main():
            heard = []
            async with node("b") as bob, node("a") as alice:
                bob.messaging.on("public.n", lambda topic, sender, payload: heard.append(payload))
                peer = await alice.add(bob.ticket(), name="bob")
                await (await alice.messaging.send("n", peer, 1))
                pid = os.fork()
                if not pid:
                    await child(alice, peer)
                assert os.waitpid(pid, 0) == (pid, 0), "the child ended otherwise"
                for n in range(2, 50):
                    await (await asyncio.wait_for(alice.messaging.send("n", peer, n), 5))
                assert await alice.storage.get(b"node/seq")
                saved = await alice.messaging.send("later", peer, 1)
            async with node("a") as again:
                print(await again.delivery(saved.id), await again.storage.get(b"node/seq") is not None)
            print(heard == list(range(1, 50)))

        asyncio.run(main())
        """,
    )
    assert told == ["True"] * 5 + ["waiting True", "True"]


def test_a_platform_that_was_made_before_the_fork_runs_in_the_child(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        made = node("a")
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            sys.exit(0)
        async def main():
            async with made:
                print(made.ready, flush=True)
        asyncio.run(main())
        """,
    )
    assert told == ["True"]


def test_a_child_of_a_program_ends_at_sigterm(tmp_path: Path) -> None:
    told = run(
        tmp_path,
        """
        platform = node("a")
        @platform.messaging.on("self.fork")
        def fork(topic, sender, payload):
            ours, theirs = os.pipe()
            pid = os.fork()
            if not pid:
                os.write(theirs, b".")
                while True:
                    signal.sigtimedwait([], 0.1)
            os.read(ours, 1)
            os.kill(pid, signal.SIGTERM)
            print(os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

        async def ask():
            await platform.messaging.send("fork")

        platform.on("ready", ask)
        platform.run()
        print("stopped")
        """,
    )
    assert told == ["True", "stopped"]
