"""This platform beside its peers: the same work, one run, one table. ``python -m benchmarks.run --help`` says how."""
