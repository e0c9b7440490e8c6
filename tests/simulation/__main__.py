"""`python -m tests.simulation --seeds 0:1000`: plays seeds, and tells how to replay what fails."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.report import Total, write_line
from tests.simulation.scenario import KINDS, Size
from tests.simulation.shrinking import shrunk
from tests.simulation.trace import Trace
from tests.simulation.world import Outcome, World, play

CHUNK = 50
TELL_EVERY_S = 10.0


def main(arguments: list[str]) -> int:
    """Play what is asked for; 0 if every invariant held, 1 if one did not."""
    asked = _parser().parse_args(arguments)
    size = Size(
        payouts=asked.payouts,
        processes=asked.processes,
        without=frozenset(filter(None, asked.without.split(","))),
        only=None if asked.only is None else frozenset(filter(None, asked.only.split(","))),
    )
    if asked.seed is not None:
        return _play_one(asked.seed, size, trace=asked.trace)
    first, last = (int(text) for text in asked.seeds.split(":"))
    total = Total()
    began = told = time.monotonic()
    for outcomes in _outcomes(first, last, size, asked.jobs):
        for outcome in outcomes:
            total.add(outcome)
            if outcome.violations:
                _tell_failure(outcome, size)
        if time.monotonic() - told > TELL_EVERY_S:
            told = time.monotonic()
            sys.stderr.write(f"{total.seeds} seeds, {total.failed} with violations\n")
        if total.failed >= asked.most_failures:
            break
    for line in total.lines(time.monotonic() - began):
        write_line(line)
    return 1 if total.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0:1000", help="from:to, the last one not included")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="with --seed: tell the whole story")
    parser.add_argument("--payouts", type=int, default=20, help="payouts of each seed")
    parser.add_argument("--processes", type=int, default=2, help="workers of each seed")
    parser.add_argument("--jobs", type=int, default=1, help="how many processors to use")
    parser.add_argument("--without", default="", help=f"kinds left out, of {', '.join(KINDS)}")
    parser.add_argument("--only", help="the only kinds, whatever a seed says")
    parser.add_argument("--most-failures", type=int, default=5, help="stop after so many")
    return parser


def _outcomes(first: int, last: int, size: Size, jobs: int) -> Iterator[list[Outcome]]:
    chunks = [(start, min(last, start + CHUNK), size) for start in range(first, last, CHUNK)]
    if jobs < 2:
        yield from map(_play_chunk, chunks)
        return
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        try:
            yield from pool.map(_play_chunk, chunks)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _play_chunk(chunk: tuple[int, int, Size]) -> list[Outcome]:
    first, last, size = chunk
    return [play(seed, size) for seed in range(first, last)]


def _play_one(seed: int, size: Size, *, trace: bool) -> int:
    outcome = World(seed, size, trace=Trace(write_line if trace else None)).run()
    for violation in outcome.violations:
        write_line(f"VIOLATION of {violation}")
    write_line(
        f"seed {seed}: {outcome.steps} steps, {outcome.lasted_s:.0f} virtual seconds,"
        f" {outcome.states}, digest {outcome.digest[:16]}"
    )
    return 1 if outcome.violations else 0


def _tell_failure(outcome: Outcome, size: Size) -> None:
    write_line(f"seed {outcome.seed} violates {outcome.violations[0]}")
    write_line(f"  replay: {replay(outcome.seed, size)}")
    small = shrunk(outcome.seed, size)
    if small != size:
        write_line(f"  smaller: {replay(outcome.seed, small)}")


def replay(seed: int, size: Size) -> str:
    """Return the command that plays a seed again, with its whole story."""
    words = [f"--seed {seed} --payouts {size.payouts} --processes {size.processes}"]
    if size.without:
        words.append(f"--without {','.join(sorted(size.without))}")
    if size.only is not None:
        words.append(f'--only "{",".join(sorted(size.only))}"')
    return f"python -m tests.simulation {' '.join(words)} --trace"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
