"""What a check of a PostgreSQL table finds: errors and warnings."""
