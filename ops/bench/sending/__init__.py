"""How fast `payouts send` is, and what becomes of a file whose sending is interrupted."""
