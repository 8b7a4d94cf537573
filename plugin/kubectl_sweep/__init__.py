"""``kubectl sweep``: the SweepSchedules of a cluster, with the rights of the person who types.

It reads and writes only through the API server: spec edits and annotations, which GitOps and the audit log see. No token of a user
reaches the controller.
"""
