"""The logs of a schedule's workers and ticks."""
