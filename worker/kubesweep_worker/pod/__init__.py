"""What is special in a pod: the environment, mounted Secrets, and the commands."""
