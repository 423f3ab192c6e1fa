"""The gateway of RMB: programs of any language speak to twins by JSON in queues of Redis, as with ``rmb-peer``."""
