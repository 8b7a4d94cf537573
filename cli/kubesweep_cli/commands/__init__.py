"""One module for each command or group of commands: its arguments, and what it does."""
