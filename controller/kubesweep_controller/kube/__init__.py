"""Everything that calls the Kubernetes API: client, watch, cache, workqueue, apply, Events and leader election."""
