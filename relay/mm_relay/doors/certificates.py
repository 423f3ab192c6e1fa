"""Loads the TLS certificate of a relay, again while it runs."""

import ssl
from pathlib import Path

from mmplatform.errors import LocalError


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
        self.context.load_cert_chain(*self._files)

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        for file in self._files:
            try:
                file.open("rb").close()
            except OSError as error:
                raise LocalError(f"{file}: {error.strerror}; the certificate of the relay cannot be read") from None
        try:
            context.load_cert_chain(*self._files)
        except (OSError, ValueError) as error:
            raise LocalError(f"{self._files[0]} and {self._files[1]} are no certificate and its key: {error}") from None
        return context
