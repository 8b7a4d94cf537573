"""The queue: its contract, and its implementations for Redis or Valkey and for a SQLite file."""
