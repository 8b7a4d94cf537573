"""What the commands share: the terminal, logs, exit codes and paths of the state."""
