"""`payouts send`: a file of payouts is read, checked as a whole, confirmed, published, followed."""
