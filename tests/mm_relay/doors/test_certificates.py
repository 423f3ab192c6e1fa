"""What an operator is told of the relay's own certificate: at the start, in time before its end, and after."""

import asyncio
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks import tls
from mm_relay.doors import certificates as module
from mm_relay.doors.certificates import DAY, Certificate
from mmplatform.errors import LocalError
from tests.support.waiting import until


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("own")
    tls.create(folder)
    return folder / tls.CERTIFICATE, folder / tls.KEY


def test_a_good_certificate_needs_no_word(files: tuple[Path, Path]) -> None:
    certificate = Certificate(*files)
    for host in ("localhost", "127.0.0.1"):
        assert certificate.trouble(host, time.time()) == ""


@pytest.mark.parametrize(
    ("host", "days", "says"),
    [
        ("localhost", 2, "has expired on"),
        ("localhost", -2, "is not valid before"),
        ("localhost", 0.9, "expires in 0 days"),
        ("relay.example", 0, "is not for relay.example, which clients dial"),
        ("192.0.2.1", 0, "is not for 192.0.2.1, which clients dial"),
    ],
)
def test_what_clients_will_refuse_is_named(files: tuple[Path, Path], host: str, days: float, says: str) -> None:
    assert says in Certificate(*files).trouble(host, time.time() + days * DAY)


async def test_it_is_said_when_it_begins_and_once_a_day(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HOUR", 0)
    now, looks, notes = [time.time()], [0], list[str]()

    def clock() -> float:
        looks[0] += 1
        return now[0]

    async def looked() -> None:
        before = looks[0]
        await until(lambda: looks[0] > before + 4)

    watch = asyncio.create_task(Certificate(*files).watch("localhost", clock, notes.append))
    await looked()
    assert not notes
    now[0] += 2 * DAY
    await looked()
    assert len(notes) == 1
    now[0] += DAY
    await looked()
    assert len(notes) == 2
    watch.cancel()


def test_files_that_do_not_belong_together_are_named(files: tuple[Path, Path], tmp_path: Path) -> None:
    certificate, key = files
    tls.create(tmp_path)
    for given, says in (
        ((certificate, tmp_path / tls.KEY), "is not the key of"),
        ((key, key), "holds no certificate in PEM .*, but PRIVATE KEY"),
        ((certificate, certificate), "holds no key in PEM .*, but CERTIFICATE"),
    ):
        with pytest.raises(LocalError, match=says):
            Certificate(*given)


def test_an_encrypted_key_asks_nobody(files: tuple[Path, Path], tmp_path: Path) -> None:
    encrypted = tmp_path / "encrypted.pem"
    command = ("openssl", "ec", "-in", str(files[1]), "-aes128", "-passout", "pass:word", "-out", str(encrypted))
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(LocalError, match="is encrypted, and nobody is there to ask"):
        Certificate(files[0], encrypted)


def test_an_expired_certificate_is_still_shown(tmp_path: Path) -> None:
    """Clients say then what is wrong; a relay that does not start says it to nobody but its operator."""
    tls.create(tmp_path, begins=-3, ends=-1)
    certificate = Certificate(tmp_path / tls.CERTIFICATE, tmp_path / tls.KEY)
    assert isinstance(certificate.context, ssl.SSLContext)
    assert "has expired" in certificate.trouble("localhost", time.time())
