"""Where a relay keeps mail: one contract, a file on disk or Redis."""
