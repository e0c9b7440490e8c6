"""Every parser is tried with inputs near to right ones; found ones are tried again for ever."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.catalogue import CORPUS, TARGETS, changed, known_cases
from tests.fuzz.oracle import Finding, Target, examine, judge_error, judge_text

EXAMPLES = {"commands": 150, "callbacks": 120, "sheets": 60, "statements": 60, "accounts": 60}
CASES = [
    pytest.param(target, path, id=f"{target.name}/{path.name}")
    for target in TARGETS.values()
    for path in known_cases(target)
]


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_read_or_refused_in_order(name: str) -> None:
    """What the other inputs are made of keeps to the rules, and some of it is read."""
    target = TARGETS[name]
    read = [examine(target, seed) for seed in target.seeds()]
    assert any(read)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_comes_in_breaks_a_parser(name: str) -> None:
    """Only our own errors, at once, in bounded memory, and without a word of the input's content.

    Proved by each of the cases in the corpus, which are kept as they were found.
    """
    target = TARGETS[name]
    seeds = target.seeds()

    @settings(
        max_examples=EXAMPLES.get(name, 100),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), st.randoms(use_true_random=False))
    def attack(seed: bytes, random: Random) -> None:
        examine(target, changed(target, seed, random))

    attack()


@pytest.mark.parametrize(("target", "path"), CASES)
def test_what_was_found_once_is_mended(target: Target, path: Path) -> None:
    """An input that broke a parser once does so no more."""
    examine(target, path.read_bytes())


def test_every_folder_of_the_corpus_has_its_parser() -> None:
    """No case is left behind when a parser is renamed."""
    assert {path.name for path in CORPUS.iterdir()} <= set(TARGETS)


def test_the_judge_finds_what_it_looks_for() -> None:
    """A slow parser, a greedy one, a foreign error and one that tells a secret are all found."""

    def broken(data: bytes) -> object:
        if data == b"slow":
            sum(range(40_000_000))
        elif data == b"greedy":
            return bytes(30_000_000)
        elif data == b"foreign":
            raise KeyError(data)
        elif data == b"telling":
            raise ValueError("the number 254712345678")
        return None

    target = Target(
        name="broken",
        read=broken,
        errors=(ValueError,),
        check=lambda *_: None,
        seeds=lambda: [b""],
        tokens=(),
        mutators=(),
    )
    assert examine(target, b"in order")
    for data in (b"slow", b"greedy", b"telling"):
        with pytest.raises(Finding):
            examine(target, data, weigh=data == b"greedy")
    with pytest.raises(KeyError):
        examine(target, b"foreign")


def test_errors_are_judged_with_all_that_a_traceback_shows() -> None:
    """A cause that tells a name is found behind an error that tells none."""
    outer = ValueError("refused")
    outer.__cause__ = KeyError("Wanjiku Otieno")
    with pytest.raises(Finding):
        judge_error(outer)
    with pytest.raises(Finding):
        judge_text("Planted-Passw0rd!")
    judge_error(ValueError("refused"))
