"""The topics that a node and its services say to each other on the local bus.

They are said in the scope "self": ``host.messaging.bus.on(f"self.{NODE_INFO}", ...)``. All of them are control topics:
no peer of any scope can send one. Payloads are mappings with camelCase keys, as NodeInfo has on the wire of other
platforms, or a single value. docs/extend/service.rst has the table: who says each, who hears it, and the payload.
"""

from typing import Final

# Records of peers.
REQUEST_NODE_INFO: Final = "transports.requestNodeInfo"  # who knows where this peer is?
NODE_INFO: Final = "transports.nodeInfo"  # a signed record was found
ADDRESSES: Final = "transports.addresses"  # addresses were named for a peer, without proof
NODE_INFO_GONE: Final = "transports.nodeInfoGone"  # whoever found a peer lost it again
NODE_INFO_BOOTSTRAP: Final = "transports.nodeInfoBootstrap"  # a node was met at which a DHT may begin
REQUEST_BOOTSTRAP_NODE_INFO: Final = "transports.requestBootstrapNodeInfo"  # who knows such nodes?

# Our own record.
MY_NODE_INFO: Final = "transports.myNodeInfo"  # it was renewed, or asked for
REQUEST_MY_NODE_INFO: Final = "transports.requestMyNodeInfo"  # say it again

# Links to peers.
ONLINE: Final = "transports.online"  # the first link to a peer is up
OFFLINE: Final = "transports.offline"  # the last link to a peer is gone
FAILED: Final = "transports.failed"  # an attempt to reach a peer failed

# What is kept under keys; those of a DHT are answered by its service.
DIRECTORY_GET: Final = "directory.get"  # look up a boxId, a signId, or a name under a signId
DIRECTORY_GET_REPLY: Final = "directory.getReply"  # what was found
DIRECTORY_PUT: Final = "directory.put"  # keep a boxId with its signId, or a value under a name of ours
DIRECTORY_BOOTSTRAP: Final = "directory.bootstrap"  # begin at these nodes of a DHT
DIRECTORY_STATE: Final = "directory.state"  # how is the DHT?

# Who is who.
FRIENDS_UPDATE_REQUEST: Final = "friends.updateRequest"  # whoever keeps the list of friends, say it
FRIENDS_UPDATE: Final = "friends.update"  # these are the friends from now on
DEVICES_UPDATE_REQUEST: Final = "devices.updateRequest"  # whoever keeps the list of our other devices, say it
DEVICES_UPDATE: Final = "devices.update"  # these are our other devices from now on
