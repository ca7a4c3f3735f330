"""Trains on private data: service, trainer, training worker."""
