"""Keeps links secret: two peers agree on keys in four frames, then seal every frame (docs/protocol/session.rst).

Sans-I/O: bytes, ``now`` and ``random`` come in as arguments; bytes and events come out.
Read in the order a link meets them: packets, cookies, handshake, events, session. Mail, which needs no link, is
sealed in envelope (docs/protocol/mail.rst), and what is for many in sealed_stream (docs/protocol/messenger.rst).
"""
