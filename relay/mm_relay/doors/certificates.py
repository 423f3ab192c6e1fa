"""Loads the TLS certificate of a relay, again while it runs, and says what clients will not like about it."""

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from mmplatform.errors import LocalError

DAY: Final = 86400.0  # seconds
HOUR: Final = 3600.0
SOON: Final = 14 * DAY  # before its end an operator is warned, once a day; a short-lived one in its last quarter
HOST, ADDRESS = 62, 64  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and its like for addresses
_NO_CHECK_TIME: Final = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME
_ROUNDS: Final = 4  # of a handshake in memory, more than it takes


class Certificate:
    """A certificate with its key; raises LocalError when they cannot be used.

    ``context`` stays the same object, and shows new connections the certificate that was read last.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        self._files = certificate, key
        self.context = self._read()

    def reload(self) -> None:
        """Read the files again. Raises LocalError when the new certificate cannot be used; the old one stays in use."""
        self._read()
        self.context.load_cert_chain(*self._files, password=_no_password)

    def trouble(self, host: str, now: float) -> str:
        """Return why clients that dial ``host`` will refuse it, or will soon, and what to do; "" when all is well."""
        file, (begins, ends) = self._files[0], self._validity
        if now >= ends:
            return f"{file}: the certificate has expired on {_day(ends)}, clients refuse it: renew it, then send SIGHUP"
        if now < begins:
            return f"{file}: the certificate is not valid before {_day(begins)}: see the clock of this host"
        if self._is_for_another(host):
            return f"{file}: the certificate is not for {host}, which clients dial: see it, and public-url"
        if ends - now < min(SOON, (ends - begins) / 4):
            left = int((ends - now) / DAY)
            return f"{file}: the certificate expires in {left} days, on {_day(ends)}: renew it, then send SIGHUP"
        return ""

    async def watch(self, host: str, now: Callable[[], float], note: Callable[[str], None]) -> None:
        """Tell the operator what :meth:`trouble` says: when it begins or changes, and once a day."""
        said, at = "", 0.0
        while True:
            trouble = self.trouble(host, now())
            if trouble and (trouble != said or now() - at >= DAY):
                note(trouble)
                at = now()
            said = trouble
            await asyncio.sleep(HOUR)

    def _read(self) -> ssl.SSLContext:
        certificate, key = self._files
        for file in self._files:
            try:
                file.open("rb").close()
            except OSError as error:
                raise LocalError(f"{file}: {error.strerror}; the certificate of the relay cannot be read") from None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise LocalError(_unusable(certificate, key, error)) from None
        shown = _handshake(context, certificate, None)
        self._validity = tuple(ssl.cert_time_to_seconds(shown[when]) for when in ("notBefore", "notAfter"))
        return context

    def _is_for_another(self, host: str) -> bool:
        try:
            _handshake(self.context, self._files[0], host)
        except ssl.SSLCertVerificationError as error:
            return error.verify_code in (HOST, ADDRESS)
        return False


def _handshake(server: ssl.SSLContext, certificate: Path, host: str | None) -> dict[str, Any]:
    """Return what a client that trusts this certificate itself is shown, in a handshake in memory.

    The standard library reads certificates in no other way. Raises SSLCertVerificationError, when a host is given.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = host is not None
    client.load_verify_locations(certificate)
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(there, back, server_side=True)
    theirs = client.wrap_bio(back, there, server_hostname=host)
    for _ in range(_ROUNDS):
        for end in (theirs, ours):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return theirs.getpeercert() or {}


def _unusable(certificate: Path, key: Path, error: Exception) -> str:
    """Return what is wrong with two files, and what to do."""
    if "KEY_VALUES_MISMATCH" in str(error):
        return f"{key} is not the key of {certificate}: name the two that were made together"
    if isinstance(error, _Encrypted):
        return f"{key} is encrypted, and nobody is there to ask for the password: store it without, readable by few"
    begins = {file: _begins(file) for file in (certificate, key)}
    if "CERTIFICATE" not in begins[certificate]:
        return f"{certificate} holds no certificate in PEM (-----BEGIN CERTIFICATE-----), but {begins[certificate]}"
    if "PRIVATE KEY" not in begins[key]:
        return f"{key} holds no key in PEM (-----BEGIN PRIVATE KEY-----), but {begins[key]}"
    return f"{certificate} and {key} are no certificate and its key: {error}"


def _begins(file: Path) -> str:
    """Return the kinds of PEM in a file."""
    lines = file.read_text(errors="replace").splitlines()
    kinds = [line.strip("-").removeprefix("BEGIN ") for line in lines if line.startswith("-----BEGIN ")]
    return ", ".join(dict.fromkeys(kinds)) or "something else"


class _Encrypted(ValueError):
    """Raised to OpenSSL, which asks for the password of a key at a terminal otherwise."""


def _no_password() -> str:
    raise _Encrypted("encrypted")


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(when))
