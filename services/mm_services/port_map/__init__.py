"""Asks the router for a port, by NAT-PMP or UPnP, and puts where it leads into our record."""

from mm_services.port_map.service import PortMap

__all__ = ["PortMap"]
