"""Where relays proved their keys is known after a restart, however the file looks."""

from pathlib import Path

import pytest

from mm_relay.federation import proven
from mm_relay.federation.proven import ProvenAddresses
from tests.sim.relay_mail.office import Office

X, Y, Z = Office("x"), Office("y"), Office("z")


async def test_what_was_reached_is_known_after_a_restart(tmp_path: Path) -> None:
    known = ProvenAddresses(tmp_path / "relays.json")
    known.open()
    for office in (X, Y, X):
        known.reached(office.key, office.address)
    await known.close()
    again = ProvenAddresses(tmp_path / "relays.json")
    again.open()
    assert (again.find(X.key), again.find(Y.key), again.find(Z.key)) == (X.address, Y.address, "")


@pytest.mark.parametrize("text", ["", "[", '{"a": 1}', '["relay+wss://nonsense", 5, null]'])
async def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "relays.json").write_text(text)
    known = ProvenAddresses(tmp_path / "relays.json")
    known.open()
    assert known.find(X.key) == ""
    known.reached(X.key, X.address)
    await known.close()
    assert X.address in (tmp_path / "relays.json").read_text()


async def test_a_folder_that_is_gone_is_said_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    known = ProvenAddresses(tmp_path / "gone" / "relays.json")
    known.open()
    known.reached(X.key, X.address)
    await known.close()
    assert known.find(X.key) == X.address
    assert "is not saved" in caplog.text


async def test_it_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proven, "MOST", 2)
    known = ProvenAddresses()
    for office in (X, Y, Z):
        known.reached(office.key, office.address)
    assert [known.find(office.key) for office in (X, Y, Z)] == ["", Y.address, Z.address]
