"""Proposes a first schedule for a table: facts and answers become a file."""
