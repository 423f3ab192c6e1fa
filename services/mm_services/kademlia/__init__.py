"""Find anyone: a Kademlia DHT of signed records. ``Kademlia(platform)`` is the service; see service.py."""

from mm_services.kademlia.service import Kademlia

__all__ = ["Kademlia"]
