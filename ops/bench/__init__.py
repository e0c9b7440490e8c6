"""The benchmark: this system, and what one would build instead, measured in one run."""
