"""Runs in the experiment trackers MLflow and Weights & Biases: `--track`."""
