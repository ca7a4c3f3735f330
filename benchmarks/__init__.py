"""Measurements beside a floor (the least that is possible) or a peer; see docs/performance.md."""
