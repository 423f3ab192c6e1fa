"""The errors of RMB, with the codes by which they are told (docs/protocol/rmb.rst)."""

from typing import Final

from mmplatform.errors import RequestFailed

INVALID: Final = 100
BAD_PAYLOAD: Final = 101
EXPIRED: Final = 102
UNKNOWN_TWIN: Final = 103
BAD_SIGNATURE: Final = 104
NO_KEY: Final = 105
BAD_CIPHER: Final = 106
HANDLER_FAILED: Final = 255
OTHER: Final = 500


class TwinError(RequestFailed):
    """Raised for what another twin, or a relay, answered in place of a response.

    ``code`` is the one on the wire: 0 of a relay, 100 to 106 of what could not be read, 255 of a handler, 500 of all
    else; handlers choose their own.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
