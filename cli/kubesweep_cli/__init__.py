"""The command line ``kubesweep``."""
