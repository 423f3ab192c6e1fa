"""Finds peers on the same network by multicast DNS: ``Platform(services=["mdns"])``."""

from mm_services.mdns.service import MulticastDNS

__all__ = ["MulticastDNS"]
