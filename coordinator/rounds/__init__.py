"""When a round closes and who takes part in it: pure policy, no broker, no files."""
