"""What a round makes of its updates: pure arithmetic and the state of a run."""
