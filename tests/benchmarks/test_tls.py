import ssl
import stat
from pathlib import Path

import pytest

pytest.importorskip("cryptography")


def test_the_certificate_is_good_for_localhost_under_its_own_authority_only(tmp_path: Path) -> None:
    from benchmarks import tls

    tls.create(tmp_path)
    assert stat.S_IMODE((tmp_path / tls.KEY).stat().st_mode) == 0o600
    assert _handshake(tmp_path, tls.client_context(tmp_path), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path, tls.client_context(tmp_path), "example.org")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path, ssl.create_default_context(), "localhost")


def _handshake(folder: Path, context: ssl.SSLContext, host: str) -> bool:
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=host)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.version() is not None
