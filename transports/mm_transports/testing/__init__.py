"""Tools with which authors of transports and of applications test.

:class:`MemoryNodes` makes platforms that reach each other without sockets; it needs no test library.
``mm_transports.testing.contract`` holds a transport to what every transport promises; it needs
``pip install 'mm-platform[testing]'``, and is not imported here therefore. ``docs/extend/transport.rst`` shows both.
"""

from mm_transports.memory import Memory, Network
from mm_transports.testing.nodes import MemoryNodes
from mm_transports.testing.scene import PEER, ConnectionEnd, Scene

__all__ = ["PEER", "ConnectionEnd", "Memory", "MemoryNodes", "Network", "Scene"]
