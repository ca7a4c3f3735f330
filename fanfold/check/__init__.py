"""Before anything runs: what a task is, what it would cost, and what will not work."""
