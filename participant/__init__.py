"""Trains on private data: service, trainer, work slot."""
