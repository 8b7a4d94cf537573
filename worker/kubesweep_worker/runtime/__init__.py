"""The process of a worker: claiming and settling jobs, the heartbeat, signals, and building it all."""
