"""What happens to the rows of a job: reading, effects, writing and the outcome."""
