"""The deployable that takes payout commands and sends them to the M-PESA gateway."""
