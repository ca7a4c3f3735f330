"""`fanfold serve`: a resident coordinator that works off a queue of runs."""
