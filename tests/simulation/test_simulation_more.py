"""Seeds 500 to 999, in a file of their own, so that two processors can share the thousand."""

import pytest

from tests.simulation.report import violated
from tests.simulation.world import play

ROUNDS = [range(start, start + 100) for start in range(500, 1000, 100)]


@pytest.mark.parametrize("seeds", ROUNDS, ids=lambda seeds: f"from {seeds.start}")
def test_all_invariants_hold_in_every_world(seeds: range) -> None:
    """Whatever a seed lets go wrong, the ten invariants hold after every step.

    Proved by tests/simulation/mutations.py, which takes each guard out in turn.
    """
    assert violated(play(seed) for seed in seeds) == []
