"""Reads SweepSchedules from files and from Kubernetes objects, with messages that name the field."""
