"""Owns the rounds: round rules, aggregation, checkpoint, evaluation, service."""
