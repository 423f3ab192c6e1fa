"""Each folder here is a distribution of somebody else: it is installed, and its tests run in a process of their own."""

collect_ignore_glob = ["*/*"]
