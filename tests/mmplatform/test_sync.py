"""Programs without an event loop: ``mmplatform.sync`` is a platform in a thread of its own."""

import inspect
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mmplatform import Message, NotRunning, Platform, RequestFailed, StorageError, WrongLoop, sync
from tests.support.waiting import wait_until

LISTEN = ["tcp://127.0.0.1:0"]


@pytest.fixture
def pair() -> Iterator[tuple[sync.Platform, sync.Platform]]:
    with ExitStack() as stack:
        alice, bob = (stack.enter_context(sync.Platform(connection_info=LISTEN, transports=["tcp"])) for _ in range(2))
        alice.add(bob.ticket(), name="bob", circle="friends")
        bob.add(alice.ticket(), name="alice", circle="friends")
        yield alice, bob


Pair = tuple[sync.Platform, sync.Platform]


def test_messages_go_there_and_handlers_run_in_threads(pair: Pair) -> None:
    alice, bob = pair
    heard: list[Any] = []
    threads: set[str] = set()

    @bob.on("friends.chat")
    def chat(topic: str, sender: str, payload: Any) -> None:
        threads.add(threading.current_thread().name)
        heard.append(payload)

    for number in range(20):
        delivery = alice.send("chat", "bob", number)
    assert delivery.wait(5).state == "delivered"
    assert heard == list(range(20))
    assert threads == {"mm handlers"}
    assert alice.delivery(delivery.id) == "delivered"
    alice.flush("bob", 5)
    assert bob.off("friends.chat", chat)
    assert not bob.off("friends.chat", chat)


def test_handlers_may_block_and_call_the_platform(pair: Pair) -> None:
    alice, bob = pair
    alice.on("friends.who", lambda topic, sender, payload: "alice")

    @bob.on("friends.back")
    def back(topic: str, sender: str, payload: Any, message: Message) -> Any:
        message.put("last", payload)
        return bob.request("who", sender, timeout=5), message.kind

    assert alice.request("back", "bob", timeout=5) == ["alice", "request"]


def test_replies_come_one_by_one_from_a_generator_in_a_thread(pair: Pair) -> None:
    alice, bob = pair
    ended: list[int] = []

    @bob.on("friends.count")
    def count(topic: str, sender: str, payload: int) -> Generator[int, None, None]:
        try:
            yield from range(payload)
        finally:
            ended.append(payload)

    @bob.on("friends.kinds")
    def kinds(topic: str, sender: str, payload: int, message: Message) -> Generator[Any, None, None]:
        yield message.kind
        raise ValueError("no more")

    assert list(alice.request_many("count", "bob", 100, timeout=5)) == list(range(100))
    for number in alice.request_many("count", "bob", 1_000_000, timeout=5):
        if number == 3:
            break
    wait_until(lambda: ended == [100, 1_000_000])
    replies = alice.request_many("kinds", "bob", timeout=5)
    assert "request" in next(replies)
    with pytest.raises(RequestFailed, match="no more"):
        next(replies)


def test_errors_are_those_of_the_platform(pair: Pair) -> None:
    alice, bob = pair
    bob.on("friends.bad", lambda topic, sender, payload: 1 / 0)
    bob.on("friends.stop", lambda topic, sender, payload: next(iter(())))
    bob.on("friends.exit", lambda topic, sender, payload: sys.exit(3))
    for topic, text in (("bad", "ZeroDivisionError"), ("stop", "StopIteration"), ("exit", "SystemExit")):
        with pytest.raises(RequestFailed, match=text):
            alice.request(topic, "bob", timeout=5)
    assert alice.ping("bob", 5) > 0
    with pytest.raises(TypeError, match="plain functions"):
        bob.on("friends.x", _coroutine_function)
    with pytest.raises(ValueError, match="not an event"):
        bob.on_event("conected", print)  # type: ignore[call-overload]
    with pytest.raises(StorageError):
        sync.Platform("/proc/nothing/here")


async def _coroutine_function(topic: str, sender: str, payload: Any) -> None: ...


def test_types_of_payloads_and_events() -> None:
    node = sync.Platform(transports=[], connection_info=())
    told: list[Any] = []

    @node.on_event("ready")
    def ready() -> None:
        told.append(threading.current_thread().name)

    @node.on("self.add", int)
    def add(topic: str, sender: str, payload: int) -> int:
        return payload + 1

    with node:
        assert node.request("add", payload=1) == 2
        with pytest.raises(RequestFailed):
            node.request("add", payload="x")
        assert node.peer(node.sign_id) == node.sign_id
        assert node.peers() == []
        wait_until(lambda: told == ["mm handlers"])
        node.set_up()


def test_before_the_start_and_after_the_stop_different_things_are_said() -> None:
    node = sync.Platform(transports=[], connection_info=())
    with pytest.raises(NotRunning, match="start it first"):
        node.send("n")
    with node:
        pass
    for call in (lambda: node.send("n"), lambda: node.on("self.n", print), node.ticket):
        with pytest.raises(NotRunning, match=r"has stopped.*make a new one"):
            call()


def test_one_message_of_a_subscription_after_the_other_and_several_of_others() -> None:
    both = threading.Barrier(2)
    at_work: list[int] = []
    most: list[int] = []
    with sync.Platform(transports=[], connection_info=()) as node:
        node.on("self.left", lambda *_: both.wait(5) and None)
        node.on("self.right", lambda *_: both.wait(5) and None)

        @node.on("self.one")
        def one(topic: str, sender: str, payload: int) -> None:
            at_work.append(payload)
            most.append(len(at_work))
            at_work.remove(payload)

        for delivery in [node.send("left"), node.send("right"), *(node.send("one", payload=n) for n in range(50))]:
            assert delivery.wait(10).state == "delivered"
    assert most == [1] * 50


def test_stop_from_a_handler_and_twice_and_before_the_start() -> None:
    node = sync.Platform(transports=[], connection_info=())
    assert node.wait(0)
    node.stop()
    node.on("self.stop", lambda topic, sender, payload: node.stop())
    with node:
        node.start()
        node.send("stop")
        assert node.wait(5)
        node.stop()
    wait_until(lambda: not [thread for thread in threading.enumerate() if thread.name == "mm platform"])


def test_a_start_that_fails_raises_and_leaves_no_thread(tmp_path: Path) -> None:
    with sync.Platform(tmp_path / "a", transports=[], connection_info=()):
        second = sync.Platform(tmp_path / "a", transports=[], connection_info=())
        with pytest.raises(StorageError, match="in use"):
            second.start()
        assert second.wait(5)


def test_the_loop_itself_cannot_wait(pair: Pair) -> None:
    alice, _ = pair
    with pytest.raises(WrongLoop):
        alice.call(lambda: alice.send("n"))


def test_it_takes_what_a_platform_takes() -> None:
    with pytest.raises(TypeError):
        sync.Platform(strage="x")  # type: ignore[call-arg]
    calls = {"add", "connect", "delivery", "disconnect", "flush", "peer", "peers", "ping", "set_up", "stop", "ticket"}
    for name in calls:
        ours, theirs = (list(inspect.signature(getattr(kind, name)).parameters) for kind in (sync.Platform, Platform))
        assert ours == theirs, name


HEAD = """
import os, signal, sys, threading
from mmplatform import sync
"""


def program(folder: Path, text: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEAD + textwrap.dedent(text), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(running: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = running.communicate(timeout=30)
    return running.returncode, out, err


def test_a_program_that_ends_without_stopping_stops_in_order(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        node = sync.Platform(sys.argv[1], transports=[], connection_info=())
        node.on("self.n", lambda *_: print("handled", flush=True))
        node.start()
        node.send("n").wait(5)
        node.platform.parts.events.emit = lambda *_: None
        closed = node.platform.storage.close
        async def close():
            await closed()
            print("closed", flush=True)
        node.platform.storage.close = close
        """,
    )
    assert ended(made) == (0, "handled\nclosed\n", "")


def test_a_handler_that_never_ends_does_not_keep_a_program_from_ending(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        begun = threading.Event()
        node = sync.Platform(sys.argv[1], transports=[], connection_info=())
        node.on("self.n", lambda *_: (begun.set(), threading.Event().wait()))
        with node:
            node.send("n")
            begun.wait()
            node.stop(grace=0.1)
        """,
    )
    assert ended(made)[0] == 0


@pytest.mark.parametrize("what", ["node.request('hang', timeout=60)", "node.send('hang').wait()", "node.wait()"])
def test_ctrl_c_ends_a_call_and_the_node_in_order(what: str, tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        f"""
        node = sync.Platform(sys.argv[1], transports=[], connection_info=())
        def hang(*_):
            threading.Event().wait(0.5)
        node.on("self.hang", hang, retries=0)
        node.on_event("ready", lambda: print("ready", flush=True))
        try:
            with node:
                {what}
                node.wait()
        except KeyboardInterrupt:
            print("interrupted", node.wait(0), flush=True)
        """,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    made.send_signal(signal.SIGINT)
    assert ended(made) == (0, "interrupted True\n", "")


def test_ctrl_c_ends_a_series_of_the_same_process_and_its_handler(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        node = sync.Platform(sys.argv[1], transports=[], connection_info=())
        def replies(*_):
            try:
                yield 1
                print("waits", flush=True)
                threading.Event().wait(0.5)
                yield 2
                threading.Event().wait(10)
            finally:
                print("ended", flush=True)
        node.on("self.replies", replies)
        try:
            with node:
                list(node.request_many("replies", timeout=60))
        except BaseException as error:
            print(type(error).__name__, flush=True)
        """,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "waits\n"
    made.send_signal(signal.SIGINT)
    assert ended(made) == (0, "ended\nKeyboardInterrupt\n", "")


def test_ctrl_c_while_it_starts_stops_it(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        from mmplatform.plugins.service import Service
        class Slow(Service):
            async def start(self, host):
                import asyncio
                print("starting", flush=True)
                await asyncio.sleep(0.5)
            async def stop(self):
                print("stopped", flush=True)
        try:
            with sync.Platform(sys.argv[1], transports=[], connection_info=(), services=[Slow()]) as node:
                print("not interrupted")
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "starting\n"
    made.send_signal(signal.SIGINT)
    assert ended(made) == (0, "stopped\ninterrupted\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_of_its_own_runs_until_a_signal(number: int, tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        node = sync.Platform(sys.argv[1], transports=[], connection_info=())
        node.on_event("ready", lambda: print("ready", flush=True))
        node.run()
        print("stopped", flush=True)
        """,
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "ready\n"
    made.send_signal(number)
    assert ended(made) == (0, "stopped\n", "")


def test_a_series_that_is_dropped_where_nobody_can_wait_is_closed_and_nothing_printed(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        import gc, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 advises against a fork beside threads
        closed = threading.Semaphore(0)
        def replies(*_):
            try:
                yield from range(10)
            finally:
                closed.release()
        with sync.Platform(sys.argv[1], transports=[], connection_info=()) as node:
            node.on("self.replies", replies)
            read = [node.request_many("replies")]
            next(read[0])
            node.call(read.clear)
            print(closed.acquire(timeout=5), flush=True)
            read = [node.request_many("replies")]
            next(read[0])
            pid = os.fork()
            if not pid:
                read.clear()
                gc.collect()
                sys.exit(0)
            print(os.waitpid(pid, 0)[1], next(read[0]))
        """,
    )
    assert ended(made) == (0, "True\n0 1\n", "")


def test_a_forked_child_is_told_and_ends(tmp_path: Path) -> None:
    made = program(
        tmp_path / "a",
        """
        import warnings
        from mmplatform import WrongProcess
        with sync.Platform(sys.argv[1], transports=[], connection_info=()) as node:
            node.on("self.n", lambda *_: 7)
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 advises against it
            pid = os.fork()
            if not pid:
                for call in (lambda: node.send("n"), lambda: node.request("n"), node.stop, node.peers, node.wait):
                    try:
                        call()
                    except WrongProcess:
                        print("told", flush=True)
                sys.exit(0)
            print(os.waitpid(pid, 0)[1], node.request("n"))
        """,
    )
    assert ended(made)[:2] == (0, "told\n" * 5 + "0 7\n")  # Python 3.12 warns of a fork beside threads


def test_a_start_that_fails_puts_nothing_into_its_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop ends by itself: whoever waited for something in it would wait for ever."""
    with sync.Platform(tmp_path / "a", transports=[], connection_info=()):
        second = sync.Platform(tmp_path / "a", transports=[], connection_info=())
        monkeypatch.setattr(second, "submit", pytest.fail)
        with pytest.raises(StorageError, match="in use"):
            second.start()
