"""What deploy/ starts: images by digest, Redis behind a password, one proxy that is believed."""

import ipaddress
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mm_relay.config.settings import Config
from mm_relay.server import RelayServer

DEPLOY = Path(__file__).parent.parent / "deploy"
COMPOSE = (DEPLOY / "compose.yml").read_text("utf-8")
DIGEST = "sha256:" + "0f" * 32


def pinned(folder: Path, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run deploy/pin-images with a docker that gives ``answer`` for every image."""
    docker = folder / "docker"
    docker.write_text(f"#!/bin/sh\necho '{answer}'\n")
    docker.chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(
        [DEPLOY / "pin-images", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_every_image_of_others_has_to_be_pinned() -> None:
    images = re.findall(r"^ +image: (.+)$", COMPOSE, re.MULTILINE)
    others = [image for image in images if not image.startswith("mm-relay:")]
    assert len(others) == 2
    assert all(re.match(r'"\$\{[A-Z]+_IMAGE:\?', image) or "@sha256:" in image for image in others)
    assert re.search(r"PYTHON_IMAGE: \"\$\{PYTHON_IMAGE:\?", COMPOSE)
    assert (
        re.findall(r"^FROM (\S+)", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE) == ["${PYTHON_IMAGE}"] * 2
    )


def test_the_image_is_asked_where_its_flags_say() -> None:
    """tests/mm_relay/test_health_check.py has the cases."""
    [check] = re.findall(r"^HEALTHCHECK .*$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert check.endswith('CMD ["/opt/mm/bin/python", "-m", "mm_relay.health_check"]')


def test_nothing_else_gets_into_the_image() -> None:
    """What pip builds the image from, and nothing that lies about in a checkout, with every builder of images."""
    lines = (DEPLOY.parent / ".dockerignore").read_text("utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {"mmplatform", "relay", "services", "transports", "setup.cfg", "pyproject.toml", "README.rst"} < let_in
    assert all((DEPLOY.parent / name).exists() for name in let_in)
    assert not list(DEPLOY.glob("*.dockerignore"))  # BuildKit alone would read it, in place of this one


def test_caddy_of_debian_understands_its_file() -> None:
    """Debian 12 has Caddy 2.6: what came later stands in comments only."""
    file = DEPLOY / "Caddyfile"
    words = re.sub(r"#.*", "", file.read_text("utf-8")).split()
    assert {word for word in words if word[0].isalnum() and ":" not in word} == {
        "reverse_proxy", "lb_policy", "least_conn", "health_uri", "health_interval", "5s",
    }  # fmt: skip
    if (caddy := shutil.which("caddy")) is not None:
        environment = os.environ | {"RELAY_HOST": "relay.example", "HOME": "/nonexistent"}
        command = [caddy, "adapt", "--config", str(file), "--adapter", "caddyfile"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_redis_has_a_password_and_a_network_of_its_own() -> None:
    assert "--store=redis://:${REDIS_PASSWORD:?" in COMPOSE
    redis = COMPOSE.partition("\n  redis:\n")[2].partition("\n  caddy:\n")[0]
    assert '- --requirepass\n      - "${REDIS_PASSWORD:?}"' in redis
    assert "networks: [back]" in redis
    assert "ports:" not in redis
    assert "back: {internal: true}" in COMPOSE


def test_proxies_are_named_one_by_one() -> None:
    texts = [
        COMPOSE,
        *((DEPLOY / name).read_text("utf-8") for name in ("relay.toml", "nginx.conf", "mm-relay.service")),
    ]
    named = [network for text in texts for network in re.findall(r"prox[^\n]*?([0-9a-f.:]+/\d+)", text)]
    assert len(named) >= 2
    assert [ipaddress.ip_network(network).num_addresses for network in named] == [1] * len(named)
    [caddy] = re.findall(r"--proxies=(\S+)/32", COMPOSE)
    assert f"ipv4_address: {caddy}}}" in COMPOSE


def test_images_are_pinned_by_what_the_registry_says(tmp_path: Path) -> None:
    lines = pinned(tmp_path, DIGEST).stdout.splitlines()
    assert [line.partition("=")[0] for line in lines[1:]] == ["PYTHON_IMAGE", "REDIS_IMAGE", "CADDY_IMAGE"]
    assert all(line.endswith(f"@{DIGEST}") for line in lines[1:])
    argument = pinned(tmp_path, DIGEST, "--build-arg").stdout.strip()
    assert re.fullmatch(rf"--build-arg PYTHON_IMAGE=python:[\w.-]+@{DIGEST}", argument)


@pytest.mark.parametrize("answer", ["", "unknown", "sha256:1234", f"{DIGEST} x"])
def test_what_is_no_digest_pins_nothing(tmp_path: Path, answer: str) -> None:
    ended = pinned(tmp_path, answer)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "no digest of python" in ended.stderr


@pytest.mark.parametrize(("network", "told"), [("10.0.0.0/8", 1), ("10.0.0.7/32", 0)])
async def test_a_relay_says_when_a_whole_network_is_believed(tmp_path: Path, network: str, told: int) -> None:
    notes: list[str] = []
    config = Config(data=tmp_path, listen="127.0.0.1:0", proxies=(ipaddress.ip_network(network),))
    server = RelayServer(config, note=notes.append)
    await server.start()
    await server.stop()
    assert len([note for note in notes if network in note]) == told
