"""Whether a message may count: who sent it, how often, and whether it is whole."""
