"""Who is who by keys of their own, and messages that only those they are for can read or make."""
