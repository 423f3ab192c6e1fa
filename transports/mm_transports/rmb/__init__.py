"""ThreeFold's Reliable Message Bus, as its genuine clients speak it (docs/protocol/rmb.rst). Legacy security."""
