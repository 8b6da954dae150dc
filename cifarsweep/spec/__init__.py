"""Studies and training runs: reads TOML, returns cells and seeds. Imports neither torch nor a database."""
