"""A region: a participant of one federation that coordinates another, and sends its sums up."""
