"""The registry of runs: what is asked for, what became of it, and which models came out of it."""
