"""Evaluation of versions on held-out data, and the result of a run."""
