"""The console on this machine: its data from the queue and the files, its actions, and its web server."""
