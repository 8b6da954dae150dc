"""Describes studies and training runs: TOML in, cells and seeds out. Knows neither torch nor a database."""
