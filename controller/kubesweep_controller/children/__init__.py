"""What a schedule becomes in the cluster: pure builders, one object each.

``workloads`` builds the CronJob and the Deployment (their pods in ``pod``), ``scaling`` KEDA's objects, ``secret`` the namespace's Secret.
"""
