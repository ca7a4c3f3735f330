"""What people and programs see of a run: a table, lines, JSON, and an event in words."""
