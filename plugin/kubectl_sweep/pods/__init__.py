"""Programs in the namespace of a schedule: in a worker that runs, or in a short Job of the workers' pod template."""
