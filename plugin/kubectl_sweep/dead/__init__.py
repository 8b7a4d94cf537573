"""Dead letters: which ones a command is about, and where they are read."""
