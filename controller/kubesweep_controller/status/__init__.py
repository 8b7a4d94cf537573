"""From one observation of a schedule to its conditions, its status and its Events. Pure."""
