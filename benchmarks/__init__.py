"""Measurements against floors and peers; see docs/performance.md."""
