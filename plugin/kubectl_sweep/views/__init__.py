"""What the verbs print, on a terminal and in a pipe."""
