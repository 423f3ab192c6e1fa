"""Envelopes, signatures, tokens and keys of RMB (docs/protocol/rmb.rst). Sans-I/O."""
