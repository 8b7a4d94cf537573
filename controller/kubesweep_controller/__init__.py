"""The controller of Kubesweep: one SweepSchedule in, the objects that serve it out, and the truth about them in its status."""
