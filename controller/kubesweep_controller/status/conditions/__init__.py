"""Conditions of a SweepSchedule: pure functions from one observation to status, reason and message.

``build_conditions`` puts them together. ``readiness`` decides Ready, ``source_ready`` SourceReady, ``autoscaling`` Autoscaling and
``degraded`` (with ``dead_letters``) Degraded. ``reasons`` lists every reason.
"""
