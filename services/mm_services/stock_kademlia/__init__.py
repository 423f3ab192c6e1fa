"""Keeps our record in an existing network of the kademlia package: ``services=["stock_kademlia"]``."""

from mm_services.stock_kademlia.service import StockKademlia

__all__ = ["StockKademlia"]
