"""Asking the keepers for the masks of a round."""
