"""Says what is wrong with the certificate of a relay, and what to do about it, by what OpenSSL found."""

import ssl
from typing import Final
from urllib.parse import urlsplit

# Numbers of X509_V_ERR_..., which stay: OpenSSL, include/openssl/x509_vfy.h
NOT_YET, EXPIRED, PURPOSE, HOST, ADDRESS = 9, 10, 26, 62, 64
UNKNOWN_ISSUER: Final = (2, 18, 19, 20, 21)  # no issuer, self-signed, self-signed above, no local issuer, no chain


def explained(error: ssl.SSLCertVerificationError, url: str) -> tuple[str, str]:
    """Return what is wrong, as the end of a sentence, and the remedy."""
    host = urlsplit(url).hostname
    code = error.verify_code
    if code == EXPIRED:
        return (
            "the relay's certificate has expired",
            "have whoever runs the relay renew it; if it is fine elsewhere, the clock of this host is ahead",
        )
    if code == NOT_YET:
        return (
            "the relay's certificate is not valid yet",
            "see the clock of this host, which may be behind, and when the certificate begins",
        )
    if code in (HOST, ADDRESS):
        return (
            f"the relay's certificate is for another name than {host}",
            f"use the address that the relay has now, or have whoever runs it get a certificate for {host}",
        )
    if code in UNKNOWN_ISSUER:
        return (
            "the relay's certificate is not trusted here: nobody this host trusts has signed it",
            "for a private authority set SSL_CERT_FILE to its certificate, or give Relay(ssl_context=...); for a public"
            " one the relay must show the whole chain (fullchain.pem)",
        )
    return f"the relay's certificate is refused: {error.verify_message}", "have whoever runs the relay get another one"
