"""A whole federation in one process and in simulated time, without a broker."""
