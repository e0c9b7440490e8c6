"""`payouts dead-letters`: what makes no payout is looked at, published again, or discarded."""
