"""The plugins of this package by group and name, for programs in which setup.cfg has left no entry points: frozen ones.

tests/test_packaging.py compares this with setup.cfg.
"""

from typing import Final

PLUGINS: Final = {
    "mmplatform.commands": {
        "chat": "mm_services.messenger.chat.commands:chat",
        "dht": "mm_services.kademlia.commands:dht",
        "messenger": "mm_services.messenger.commands:messenger",
        "rmb": "mm_services.rmb.commands:rmb",
        "rmb-peer": "mm_services.rmb.commands.gateway:rmb_peer",
    },
    "mmplatform.services": {
        "kademlia": "mm_services.kademlia.service:Kademlia",
        "mdns": "mm_services.mdns:MulticastDNS",
        "messenger": "mm_services.messenger.service:Messenger",
        "port_map": "mm_services.port_map:PortMap",
        "rmb_bridge": "mm_services.rmb.bridge:RmbBridge",
        "rmb_directory": "mm_services.rmb.directory:RmbDirectory",
        "stock_kademlia": "mm_services.stock_kademlia:StockKademlia",
    },
}
