"""mm with an encrypted key, in real processes: on a terminal it asks, elsewhere it says what to do."""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmplatform.cli import passphrases
from mmplatform.errors import IdentityError, WrongPassphrase
from mmplatform.identity.keys import Identity, look_into
from mmplatform.identity.passphrases import VARIABLE
from tests.support.cli import INTERRUPTED, MM, PATIENCE, Node
from tests.support.waiting import wait_until

WORD = "correct horse"


class Typed:
    """A command whose stdin is a terminal: what it asks for is answered."""

    def __init__(self, node: Node, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        command = (*MM, "--data", str(node.folder), *arguments)
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=subprocess.PIPE, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""

    def answer(self, question: str, text: str) -> None:
        """Wait for a question and type a line."""
        wait_until(lambda: self._read(question))
        self.shown = ""
        os.write(self._ours, f"{text}\n".encode())

    def _read(self, question: str) -> bool:
        self.shown += os.read(self._ours, 4096).decode()
        return question in self.shown

    def end(self) -> tuple[int, str]:
        """The exit code and what it printed on stdout."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        try:
            while more := os.read(self._ours, 4096).decode():
                self.shown += more
        except OSError:  # nobody holds the other end any more
            pass
        os.close(self._ours)
        return self.process.returncode, out.decode()


@pytest.fixture
def word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is named."""
    file = tmp_path / "word"
    file.touch(0o600)
    file.write_text(f"{WORD}\n")
    monkeypatch.setenv(VARIABLE, str(file))
    return file


def test_a_key_is_encrypted_on_a_terminal_and_asked_for(node: Node) -> None:
    key = node.mm("id").stdout
    typed = Typed(node, "id", "--encrypt")
    typed.answer("New passphrase:", WORD)
    typed.answer("The same again:", WORD)
    code, out = typed.end()
    assert (code, out) == (0, f"the key of {key.decode().strip()} is encrypted\n")
    assert look_into(node.folder / "identity").keeper == "passphrase"
    typed = Typed(node, "id")
    typed.answer("Passphrase of", WORD)
    assert typed.end() == (0, key.decode())
    assert WORD not in typed.shown


def test_two_different_ones_change_nothing(node: Node) -> None:
    node.mm("id")
    typed = Typed(node, "id", "--encrypt")
    typed.answer("New passphrase:", WORD)
    typed.answer("The same again:", "something else")
    assert typed.end() == (1, "")
    assert look_into(node.folder / "identity").keeper == ""


def test_a_wrong_one_ends_the_command(node: Node, word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert node.mm("id", "--encrypt").returncode == 0
    monkeypatch.delenv(VARIABLE)
    typed = Typed(node, "id")
    typed.answer("Passphrase of", "guess")
    assert typed.end() == (1, "")
    assert "not the passphrase" in typed.shown


def test_ctrl_c_ends_the_question(node: Node, word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.mm("id", "--encrypt")
    monkeypatch.delenv(VARIABLE)
    typed = Typed(node, "peers")
    wait_until(lambda: typed._read("Passphrase of"))
    typed.process.send_signal(2)
    assert typed.end()[0] == INTERRUPTED


def test_without_a_terminal_it_says_what_to_do(node: Node, word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(node.mm("id", "--encrypt", "--json").stdout)
    assert made == {"signId": look_into(node.folder / "identity").sign_id, "encrypted": "passphrase"}
    assert node.mm("id").stdout.decode().strip() == made["signId"]
    monkeypatch.delenv(VARIABLE)
    for command in (("id",), ("peers",), ("send", "bob", "chat", "x"), ("id", "--encrypt"), ("id", "--decrypt")):
        done = node.mm(*command)
        assert (done.returncode, done.stdout) == (1, b""), command
        assert VARIABLE in done.stderr.decode()
    found = [json.loads(line) for line in node.mm("doctor", "--json").stdout.splitlines()]
    assert [each["state"] for each in found if each["word"] == "key-locked"] == ["fault"]


def test_a_running_node_is_used_without_the_passphrase(
    node: Node, word: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    node.mm("id", "--encrypt")
    key = node.mm("id").stdout
    node.serve("run", "--listen", "tcp://127.0.0.1:0")
    monkeypatch.delenv(VARIABLE)
    assert node.mm("id").stdout == key
    assert b"in use" in node.mm("id", "--decrypt").stderr
    backup = node.mm("backup", str(tmp_path / "saved"))
    assert (backup.returncode, b"encrypted" in backup.stderr) == (0, True)
    other = Node(tmp_path / "other")
    assert other.mm("restore", str(tmp_path / "saved")).returncode == 0
    monkeypatch.setenv(VARIABLE, str(word))
    assert other.mm("id").stdout == key


def test_a_key_is_decrypted(node: Node, word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node.mm("id", "--encrypt")
    key = node.mm("id").stdout
    assert b"is not encrypted" in node.mm("id", "--decrypt").stdout
    monkeypatch.delenv(VARIABLE)
    assert node.mm("id").stdout == key


def test_a_keyring_keeps_the_passphrase(node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of that name, which keeps words in a file."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "keyring.py").write_text(
        "from pathlib import Path\n"
        f"def at(service, name): return Path({str(tmp_path)!r}, service + '-' + name.replace('/', '_'))\n"
        "def get_password(*who): return at(*who).read_text() if at(*who).exists() else None\n"
        "def set_password(service, name, word): at(service, name).write_text(word)\n"
        "def delete_password(*who): at(*who).unlink()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{os.environ.get('PYTHONPATH', '')}")
    key = node.mm("id").stdout
    assert b"for this user's keyring" in node.mm("id", "--keyring").stdout
    assert node.mm("id").stdout == key
    [kept] = tmp_path.glob("mm-platform-*")
    assert len(kept.read_text()) > 40
    assert b"on this machine only" in node.mm("backup", str(tmp_path / "saved")).stderr
    assert node.mm("id", "--decrypt").returncode == 0
    assert not kept.exists()
    assert node.mm("id").stdout == key


def test_a_keyring_opens_a_key_that_could_not_be_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run mm id --keyring once more on a disk that is full by now, and open a copy that was made before."""
    kept: dict[tuple[str, ...], str] = {}
    made = SimpleNamespace(
        get_password=lambda *who: kept.get(who),
        set_password=lambda service, name, word: kept.update({(service, name): word}),
    )
    monkeypatch.setitem(sys.modules, "keyring", made)  # type: ignore[arg-type]
    monkeypatch.delenv(VARIABLE, raising=False)
    sign_id = passphrases.encrypt(tmp_path, keyring=True).sign_id
    copy = shutil.copy(tmp_path / "identity", tmp_path / "copy")

    def full(*_: object) -> None:
        raise IdentityError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Identity, "save", full)
        with pytest.raises(IdentityError, match="no space"):
            passphrases.encrypt(tmp_path, keyring=True)
    assert opened(tmp_path / "identity") == sign_id
    assert passphrases.encrypt(tmp_path, keyring=True).sign_id == sign_id
    assert (opened(tmp_path / "identity"), opened(copy)) == (sign_id, sign_id)


def opened(path: Path) -> str:
    """Whose key a file has, or why it cannot be opened."""
    try:
        return Identity.load_or_create(path).sign_id
    except WrongPassphrase as error:
        return str(error)


def test_it_goes_with_no_other_option(node: Node) -> None:
    assert node.mm("id", "--encrypt", "--ticket").returncode == 2
