"""Settings of a relay, from flags and TOML."""
