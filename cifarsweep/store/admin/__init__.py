"""Care for a database: check it, back it up, diagnose it."""
