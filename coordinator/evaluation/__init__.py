"""What a version is worth on held-out data, and what a run leaves behind."""
