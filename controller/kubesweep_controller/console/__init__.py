"""The console of the cluster: read-only pages about the schedules that this release serves."""
