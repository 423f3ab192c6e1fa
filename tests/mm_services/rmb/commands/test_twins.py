"""mm rmb twin."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mm_transports.rmb.protocol.keys import TwinKeys
from mm_transports.rmb.twins.toml_file import read_twins
from mmplatform.cli.command import FAILED, OK, USAGE
from tests.support.cli import LOOPBACK, Node
from tests.support.twins import twin_of

Here = Callable[..., tuple[int, str, str]]
ONE, TWO = twin_of(1), twin_of(2)
PHRASE = "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
THIRTY = TwinKeys.from_secret(PHRASE, "ed25519")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(f"{PHRASE}\n")
    return path


def test_add_list_show_and_remove(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "here" / "twins.toml"
    keys = ("--account", f"0x{ONE.account.hex()}", "--pk", ONE.pk.hex())
    code, out, _ = here("rmb", "twin", "add", "1", *keys, "--relay", "relay.example")
    assert (code, read_twins(file.read_bytes())) == (OK, {1: ONE})
    assert f"added to  {file}" in out
    assert here("rmb", "twin", "list") == (OK, f"1\t{ONE.account.hex()}\tyes\trelay.example\n", "")
    _, out, _ = here("rmb", "twin", "list", "--json")
    facts = {"twin": 1, "account": ONE.account.hex(), "pk": ONE.pk.hex(), "relays": ["relay.example"]}
    assert json.loads(out) == facts | {"foundBy": str(file)}
    for key in ("1", ONE.account.hex()):
        code, out, _ = here("rmb", "twin", "show", key)
        assert (code, out.splitlines()[-1]) == (OK, f"found in  {file}")
        assert json.loads(here("rmb", "twin", "show", key, "--json")[1]) == facts | {"foundBy": str(file)}
    assert here("rmb", "twin", "remove", "1") == (OK, f"removed from {file}\n", "")
    assert here("rmb", "twin", "remove", "1")[0] == FAILED
    code, out, err = here("rmb", "twin", "list")
    assert (code, out) == (OK, "")
    assert f"no twins in {file}; mm rmb twin add adds one" in err


def test_the_folder_is_one_that_a_node_takes(here: Here, tmp_path: Path) -> None:
    assert here("rmb", "twin", "add", "1", "--account", ONE.account.hex())[0] == OK
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o700
    assert here("id")[0] == OK
    assert here("rmb", "twin", "list")[1].endswith("\tno\t\n")


def test_listing_makes_nothing(here: Here, tmp_path: Path) -> None:
    assert here("rmb", "twin", "list")[0] == OK
    assert here("rmb", "twin", "show", "1")[0] == FAILED
    assert not (tmp_path / "here").exists()


def test_keys_of_a_secret(here: Here, secret: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "elsewhere.toml"
    given = ("--secret-file", str(secret), "--key-type", "ed25519", "--file", str(file), "--json")
    code, out, _ = here("rmb", "twin", "add", "30", *given)
    assert code == OK
    assert json.loads(out) == {
        "twin": 30, "account": THIRTY.account.hex(), "pk": THIRTY.pk.hex(), "relays": [], "addedTo": [str(file)],
    }  # fmt: skip
    assert "letter" not in out + file.read_text()
    assert here("rmb", "twin", "add", "30", "--relay", "r", *given)[0] == FAILED
    assert here("rmb", "twin", "add", "30", "--relay", "r", "--replace", *given)[0] == OK
    with secret.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        assert here("rmb", "twin", "add", "31", "--secret-file", "-", "--file", str(file))[0] == OK  # sr25519
    assert [
        one["twin"] for one in map(json.loads, here("rmb", "twin", "list", "--file", str(file), "--json")[1].split())
    ] == [30, 31]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("add", "0"), "0 is not in the range"),
        (("add", "4294967296"), "is not in the range"),
        (("add", "1"), "give its --account, or its --secret-file"),
        (("add", "1", "--account", "zz"), "not hexadecimal digits"),
        (("add", "1", "--account", "00"), "account: a public key of 32 bytes, not of 1"),
        (("add", "1", "--account", "00" * 32), "account: anybody can sign for this key"),
        (("add", "1", "--account", ONE.account.hex(), "--pk", "04" * 33), "pk: "),
        (("add", "1", "--account", ONE.account.hex(), "--relay", "a_b"), "relays: "),
        (("add", "1", "--account", ONE.account.hex(), "--directory", "bob"), "give its --secret-file"),
        (("add", "1", "--account", ONE.account.hex(), "--secret-file", "SECRET"), "either --secret-file, or"),
        (("add", "1", "--secret-file", "SECRET", "--directory", "bob", "--file", "f"), "either a --file, or"),
        (("add", "1", "--secret-file", "SECRET", "--directory", "bob", "--days", "33"), "33 is not in the range"),
        (("show", "bob"), "neither the number of a twin nor an account"),
        (("show", "\u0663"), "neither the number of a twin nor an account"),
        (("show", "1" * 11), "neither the number of a twin nor an account"),
    ],
)
def test_wrong_usage(here: Here, secret: Path, arguments: tuple[str, ...], words: str) -> None:
    code, out, err = here("rmb", "twin", *(str(secret) if one == "SECRET" else one for one in arguments))
    assert (code, out) == (USAGE, "")
    assert words in err


def test_what_fails_says_what_to_do(here: Here, tmp_path: Path, secret: Path) -> None:
    broken, missing = tmp_path / "broken.toml", tmp_path / "missing.toml"
    broken.write_text("[twin.1]\n")
    os.mkfifo(tmp_path / "pipe")
    wrong_secret = tmp_path / "wrong"
    wrong_secret.write_bytes(b"\xff" * 9000)
    for arguments, words in (
        (("list", "--file", str(broken)), f"{broken}: [twin.1]: account: a public key of 32 bytes, not of 0"),
        (("list", "--file", str(missing)), f"{missing}: there is no such file; mm rmb twin add makes one"),
        (("list", "--file", str(tmp_path / "pipe")), "it is no file"),
        (("show", "7"), "--directory asks elsewhere"),
        (("remove", "7", "--file", str(broken)), f"{broken}: [twin.1]"),
        (("add", "7", "--secret-file", str(missing)), "No such file"),
        (("add", "7", "--secret-file", str(wrong_secret)), "a phrase has 12, 15"),
        (("show", "7", "--directory", "local"), "this node keeps no directory of twins"),
        (("show", "7", "--directory", "nobody"), "nobody"),
    ):
        code, out, err = here("rmb", "twin", *arguments)
        assert (code, out) == (FAILED, ""), arguments
        assert words in err, arguments
        assert "(a defect" not in err
    code, _, err = here("rmb", "twin", "list", "--file", str(missing), "--json")
    assert (code, json.loads(err)["kind"]) == (FAILED, "LocalError")


@pytest.mark.slow
def test_the_directory_of_a_node_and_of_a_friend(node: Node, tmp_path: Path, secret: Path) -> None:
    alice, bob = node, Node(tmp_path / "bob")
    alice.serve("run", "--listen", *LOOPBACK, "--service", "rmb_directory")
    try:
        bob.serve("run", "--listen", *LOOPBACK)
        for one, other, name in ((alice, bob, "bob"), (bob, alice, "alice")):
            ticket = other.mm("id", "--ticket").stdout.decode().strip()
            assert one.mm("add", ticket, "--friend", "--name", name).returncode == OK
        _publish_and_find(alice, bob, secret)
    finally:
        bob.stop()


def _publish_and_find(alice: Node, bob: Node, secret: Path) -> None:
    given = ("--secret-file", str(secret), "--key-type", "ed25519", "--relay", "r")
    added = bob.mm("rmb", "twin", "add", "30", *given, "--directory", "alice", "--json")
    assert json.loads(added.stdout)["addedTo"] == ["alice"], added.stderr
    found = json.loads(bob.mm("rmb", "twin", "show", "30", "--directory", "alice", "--json").stdout)
    assert (found["account"], found["foundBy"]) == (THIRTY.account.hex(), "the directory of alice")
    assert json.loads(alice.mm("rmb", "twin", "show", THIRTY.account.hex(), "--directory", "local", "--json").stdout)
    taken = bob.mm("rmb", "twin", "add", "30", "--secret-file", str(secret), "--directory", "alice")
    assert taken.returncode == FAILED
    assert b"taken: another account holds the number 30; choose another one" in taken.stderr
    assert bob.mm("rmb", "twin", "add", "30", *given, "--directory", "alice").returncode == OK  # renewed
    missing = bob.mm("rmb", "twin", "show", "31", "--directory", "alice")
    assert (missing.returncode, missing.stdout) == (FAILED, b"")
    assert b"there is no twin 31 in" in missing.stderr
    assert b"the directory of alice" in missing.stderr
