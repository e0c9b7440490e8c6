"""What operators run and read."""
