"""mm id, add, accept and peers."""

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmplatform.cli.command import FAILED, OK
from mmplatform.cli.commands import contacts
from mmplatform.cli.node.host import Host
from mmplatform.identity.keys import Identity
from tests.support.cli import LOOPBACK, Node
from tests.support.waiting import until, wait_until

Here = Callable[..., tuple[int, str, str]]


def test_identity_ticket_and_qr(here: Here) -> None:
    sign_id = here("id")[1].strip()
    told = json.loads(here("--json", "id")[1])
    assert told["signId"] == sign_id
    assert here("id", "--ticket")[1].startswith("mm1")
    code, out, _ = here("id", "--qr")
    assert code == OK
    assert out.count("\n") > 20


def test_qr_without_its_library(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    code, _, err = here("id", "--qr")
    assert code == FAILED
    assert "mm-platform[cli]" in err


def test_a_peer_is_added_named_and_listed(here: Here, tmp_path: Path) -> None:
    bob = here("id", "--ticket", data=tmp_path / "bob")[1].strip()
    sign_id = here("id", data=tmp_path / "bob")[1].strip()
    here("id")
    assert "nobody yet" in here("peers")[2]
    code, out, err = here("add", bob, "--name", "bob")
    assert (code, err) == (OK, "")
    assert out == f"bob ({sign_id}) is known; its messages arrive as public.TOPIC\n"
    assert "friends.TOPIC" in here("add", "bob", "--friend")[1]
    assert json.loads(here("--json", "add", sign_id, "--device")[1])["scope"] == "self"
    peer = json.loads(here("peers", "--json")[1])
    assert (peer["name"], peer["signId"], peer["connected"]) == ("bob", sign_id, False)
    assert here("peers")[1].startswith(f"bob\t{sign_id}\tself\tticket\t-")


def test_a_key_without_an_address(here: Here, tmp_path: Path) -> None:
    sign_id = here("id", data=tmp_path / "bob")[1].strip()
    code, out, err = here("add", sign_id)
    assert code == OK
    assert out.startswith(sign_id)
    assert "add its ticket" in err


def test_our_own_ticket_is_refused(here: Here) -> None:
    for form in ("--ticket", "--json"):
        own = here("id", form)[1].strip()
        own = json.loads(own)["signId"] if form == "--json" else own
        code, _, err = here("add", own, "--friend")
        assert code == FAILED
        assert "this node itself" in err


def test_a_name_must_not_look_like_a_key(here: Here) -> None:
    sign_id = here("id")[1].strip()
    assert "--name" in here("add", "x", "--name", sign_id)[2]


def test_a_ticket_through_a_pipe(node: Node, here: Here, tmp_path: Path) -> None:
    ticket = here("id", "--ticket", data=tmp_path / "bob")[1]
    assert node.mm("add", "-", "--name", "bob", stdin=ticket.encode()).returncode == OK


def test_every_link_of_a_peer_is_shown_and_why_there_is_no_better_one() -> None:
    link = {"address": "relay+wss://r", "state": "active", "rtt": 0.0123, "bytesIn": 900, "bytesOut": 4_300_000}
    spare = {"address": "relay+wss://s", "state": "standby", "rtt": 0, "bytesIn": 0, "bytesOut": 2048}
    peer = {
        "name": "bob", "signId": "K", "scope": "friends", "connected": True, "address": link["address"], "rtt": 0,
        "waiting": False, "blocked": False, "foundBy": "ticket", "reason": "", "links": [link, spare],
        "troubles": {"tcp://8.8.8.8:1": "no route"},
    }  # fmt: skip
    assert contacts._row(peer)[-2:] == (
        "relay+wss://r 12.3 ms, 900 B in, 4.1 MiB out",
        "standby: relay+wss://s, 0 B in, 2 KiB out; not tcp://8.8.8.8:1: no route",
    )
    away = contacts._row(peer | {"connected": False, "links": [], "reason": "no answer"})
    assert away[-2:] == ("-", "no answer")


def test_all_of_it_through_a_running_node(pair: tuple[Node, Node], here: Here) -> None:
    alice, bob = pair
    alice.serve("run", "--listen", *LOOPBACK)
    bob.serve("run", "--listen", *LOOPBACK, "--json")
    code, out, _ = here("ping", "bob", "--count", "2", data=alice.folder)
    assert code == OK
    assert out.count(" ms\n") == 2
    assert json.loads(here("ping", "bob", "--json", data=alice.folder)[1])["seconds"] < 5

    def measured() -> Any:
        """When both ends dial at once, the link that stays may be one that no ping went over yet."""
        here("ping", "bob", data=alice.folder)
        peer = json.loads(here("peers", "--json", data=alice.folder)[1])
        return peer if len(peer["links"]) == 1 and peer["links"][0]["rtt"] else None

    peer = wait_until(measured)
    assert peer["connected"]
    assert peer["address"].startswith("tcp://127.0.0.1:")
    [link] = peer["links"]
    assert (link["address"], link["state"]) == (peer["address"], "active")
    assert 0 < link["rtt"] < 5
    assert min(link["bytesIn"], link["bytesOut"]) > 0
    assert peer["troubles"] == {}
    shown = here("peers", data=alice.folder)[1]
    assert " ms, " in shown
    assert " in, " in shown
    assert '"event":"connection"' in bob.out
    assert "connected: bob" in alice.out


def strangers(tmp_path: Path) -> tuple[Node, Node, str]:
    """Alice, who has added bob as a friend and sent him something, bob, who has not heard of her, and her key."""

    async def meet() -> str:
        async with (
            Host(tmp_path / "a", listen=LOOPBACK, purpose="run") as a,
            Host(tmp_path / "b", listen=LOOPBACK, purpose="run") as b,
        ):
            await a.call("add", ticket=b.platform.ticket(), name="bob", circle="friends")
            await a.platform.messaging.send("chat", b.platform.sign_id, "hello")
            await until(lambda: bool(b.platform.parts.friend_requests.listed()))
            return a.platform.sign_id

    return Node(tmp_path / "a"), Node(tmp_path / "b"), asyncio.run(meet())


def test_who_asks_is_listed_and_accepted(tmp_path: Path, here: Here) -> None:
    """What was sent before comes, too: it has stayed with its sender."""
    alice, bob, key = strangers(tmp_path)
    try:
        code, out, _ = here("peers", "--asking", data=bob.folder)
        assert (code, out.split("\t")[:2]) == (OK, ["-", key])
        asking = json.loads(here("peers", "--asking", "--json", data=bob.folder)[1])
        assert (asking["signId"], asking["name"], asking["since"] > 1e9) == (key, "", True)
        assert "no messages" not in here("inbox", data=bob.folder)[1]
        bob.serve("run", "--listen", *LOOPBACK)
        alice.serve("run", "--listen", *LOOPBACK)
        assert "--decline gives nobody a name" in here("accept", key, "--decline", "--name", "x", data=bob.folder)[2]
        code, out, _ = here("accept", key, "--name", "alice", data=bob.folder)
        assert (code, out) == (OK, f"alice ({key}) is a friend; its messages arrive as friends.TOPIC\n")
        assert "nobody asks to be a friend" in here("peers", "--asking", data=bob.folder)[2]
        wait_until(lambda: "friends.chat" in here("inbox", data=bob.folder)[1])
        assert here("accept", "alice", data=bob.folder)[0] == OK, "she is one"
        code, _, err = here("accept", Identity.generate().sign_id, data=bob.folder)
        assert (code, "does not ask to be a friend" in err) == (FAILED, True)
    finally:
        alice.stop()
        bob.stop()


def test_who_asks_is_declined(tmp_path: Path, here: Here) -> None:
    _, bob, key = strangers(tmp_path)
    assert here("accept", "--decline", key, data=bob.folder)[:2] == (OK, f"declined {key}\n")
    assert here("peers", "--asking", "--json", data=bob.folder)[1] == ""
    code, _, err = here("accept", "--decline", key, data=bob.folder)
    assert (code, "does not ask" in err) == (FAILED, True)


def test_a_running_node_says_who_asks(tmp_path: Path) -> None:
    alice, bob, key = strangers(tmp_path)
    try:
        bob.serve("run", "--listen", *LOOPBACK)
        assert bob.mm("accept", "--decline", key, "--json").stdout == f'{{"peer":"{key}","declined":true}}\n'.encode()
        carol = Node(tmp_path / "c")
        ticket = bob.mm("id", "--ticket").stdout.decode().strip()
        carol.mm("add", ticket, "--friend", "--name", "bob")
        carol.mm("send", "bob", "chat", "hi", "--timeout", "0.5")
        own = carol.mm("id").stdout.decode().strip()
        wait_until(lambda: f"{own} asks to be a friend: mm accept {own} --name NAME" in bob.out)
    finally:
        alice.stop()
        bob.stop()
