"""The service contract: a plugin that talks to the platform over the bus and has a life between start and stop."""

from abc import ABC, abstractmethod

from mmplatform.plugins.check import Check


class Service(ABC):
    """Built by a callable that takes the platform, as in ``Kademlia(platform)``; the platform starts and stops it."""

    trouble = ""
    """Why it cannot do its work at present, as far as it knows; empty when it can."""

    @abstractmethod
    async def start(self) -> None:
        """Begin; the platform is listening and its storage is open."""

    @abstractmethod
    async def stop(self) -> None:
        """End; no task, timer or socket stays."""

    async def checks(self) -> list[Check]:
        """What ``mm doctor`` says about it; may take some seconds to find out."""
        return []
