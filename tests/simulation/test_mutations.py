"""What the simulation would notice: some guards are taken out here, all of them by a command."""

import pytest

from tests.simulation.mutations import BEGIN, END, MUTATIONS, PAGE, search
from tests.simulation.removals import REMOVALS
from tests.simulation.twins.guards import GUARDS

CHEAP = (
    "intent before effect",
    "command acknowledged last",
    "result acknowledged last",
    "repeats are not submitted",
    "lease lapses",
    "unknown outcome is doubt",
    "overdue is doubt",
    "first end wins",
    "event in the same commit",
    "abandoned only if silent",
    "proof count",
    "retry only failed",
)


@pytest.mark.parametrize("guard", CHEAP)
def test_a_guard_that_is_gone_is_noticed(guard: str) -> None:
    """A few seeds are enough to see what each of these guards is for."""
    mutation = next(one for one in MUTATIONS if one.guard == guard)

    assert search(mutation, 60).seeds is not None


def test_the_page_names_every_mutation_and_all_were_found() -> None:
    """The table of how-we-test.md is whole: `python -m tests.simulation.mutations --write`."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]

    for mutation in MUTATIONS:
        assert f"| {mutation.guard} | {mutation.without} |" in table
    assert "not found**" not in table


def test_every_guard_that_can_be_taken_out_is_taken_out() -> None:
    """No switch of the twin store and no patch is forgotten, but those that stand second."""
    switches = {name for mutation in MUTATIONS for name in mutation.sql}
    patched = {mutation.guard for mutation in MUTATIONS if mutation.patched}
    second = {"begins unsent", "move heard"}  # Nothing gets there while the first ones stand.

    assert set(GUARDS) - switches == second
    assert set(REMOVALS) == patched
