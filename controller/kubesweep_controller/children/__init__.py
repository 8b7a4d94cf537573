"""What a schedule becomes in the cluster: pure builders, one object each."""
