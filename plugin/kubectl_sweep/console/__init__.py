"""The console with the rights of the person who runs it."""
