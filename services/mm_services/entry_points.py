"""The plugins of this package by group and name, for programs in which setup.cfg has left no entry points: frozen ones.

tests/test_packaging.py compares this with setup.cfg.
"""

from typing import Final

PLUGINS: Final = {
    "mmplatform.commands": {
        "dht": "mm_services.kademlia.commands:dht",
        "rmb": "mm_services.rmb.commands:rmb",
    },
    "mmplatform.services": {
        "kademlia": "mm_services.kademlia.service:Kademlia",
        "mdns": "mm_services.mdns:MulticastDNS",
        "port_map": "mm_services.port_map:PortMap",
        "rmb_directory": "mm_services.rmb.directory:RmbDirectory",
        "stock_kademlia": "mm_services.stock_kademlia:StockKademlia",
    },
}
