"""The SweepSchedule: its models, reading it from files and objects, and compiling it to a plan."""
