"""Errors of JSON-RPC, and the codes of a node of the chain."""

from typing import Final

PARSE_ERROR: Final = -32700  # codes of JSON-RPC 2.0, section 5.1
INVALID_REQUEST: Final = -32600
NO_METHOD: Final = -32601
INVALID_PARAMS: Final = -32602
AWAY: Final = -32000
INVALID_TRANSACTION: Final = 1010  # codes of Substrate (sc-rpc-api, author/error.rs)
BANNED: Final = 1012


class CallRefused(Exception):
    """Raised for a call that is answered with an error of JSON-RPC."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
