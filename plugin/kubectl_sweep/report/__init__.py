"""What goes into a bug report, without its secrets."""
