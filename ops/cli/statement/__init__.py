"""`payouts reconcile FILE.csv`: an organisation statement against the books, line by line."""
