"""A seeded world in which the real services meet every fault, judged by an independent auditor."""
