"""The API server: kubeconfig and login, requests, and what its refusals mean."""
