"""``make demo``: a small application with its database and its handler."""
