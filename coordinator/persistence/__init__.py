"""What survives a crash: checkpoint, history, spool, and what is not acknowledged yet."""
