"""The queue in a SQLite file. Each operation is one transaction."""
