"""The metrics of a worker's process: what a scrape reads, and the HTTP endpoint that serves it."""
