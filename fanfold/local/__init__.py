"""A whole federation on one machine: a private broker, and services as child processes."""
