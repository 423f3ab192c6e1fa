"""Between peers and twins: each asks the other by a destination, and by a number."""

from mm_services.rmb.bridge.service import RmbBridge

__all__ = ["RmbBridge"]
