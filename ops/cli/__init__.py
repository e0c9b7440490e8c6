"""The command `payouts`: what operators type, and what scripts call (contract.md §5)."""
