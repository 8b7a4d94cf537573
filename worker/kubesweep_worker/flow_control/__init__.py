"""What slows a worker down: circuit breaker, row budget, backoff and batch size."""
