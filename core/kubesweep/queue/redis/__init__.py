"""The queue on Redis or Valkey. Each operation is one Lua script."""
