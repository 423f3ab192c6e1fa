"""One file a peer, all with the contract of :mod:`benchmarks.contract`; :mod:`benchmarks.registry` lists them."""
