"""Programs to copy, and a file of payouts to try."""
