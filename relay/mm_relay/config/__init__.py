"""The settings of a relay, from flags and TOML."""
