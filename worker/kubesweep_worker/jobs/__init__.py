"""What a job does, one module for each kind of job."""
