"""What the commands show: the live view, plain lines, tables, reports and JSON."""
