"""The controller's side of the queue: guarded calls, users and credentials, the servers' memory and stuck scripts."""
