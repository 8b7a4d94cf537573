"""The reconciler and its steps: the spec, the children, the queue, and the full resync."""
