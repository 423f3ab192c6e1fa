"""The plugins of this package by group and name, for programs in which setup.cfg has left no entry points: frozen ones.

tests/test_packaging.py compares this with setup.cfg.
"""

from typing import Final

PLUGINS: Final = {
    "mmplatform.commands": {"relay": "mm_relay.commands:relay"},
    "mmplatform.doors": {"native": "mm_relay.doors.native:NativeDoor"},
    "mmplatform.servers": {"relay": "mm_relay.server:RelayServer"},
}
