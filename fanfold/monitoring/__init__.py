"""What operators see: metrics, health, status and curves."""
