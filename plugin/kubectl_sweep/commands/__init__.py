"""The verbs: each reads the cluster, prints, and returns an exit code."""
