"""What the command line accepts, one module for each group of commands. The package ``commands`` implements them.

These modules import only what a help page needs. Everything else is imported when a command runs.
"""
