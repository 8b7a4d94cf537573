"""What ``kubesweep run`` and ``kubesweep worker`` run: the loop, the clock and the workers."""
