"""`ops/chaos.sh`: rounds of deaths and faults until all that was asked for has been, and judged."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import logging
import signal
import sys
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tests.faults.arena import Arena, arena
from tests.faults.killing import RANDOM, Order, kill
from tests.faults.load import TRAITS
from tests.faults.points import POINTS, Load
from tests.faults.report import Totals, line, replay_of, table
from tests.faults.rounds.every import ROUNDS

SIZES: Final[Mapping[str, int]] = {Load.MIXED: 4000, RANDOM: 1000}
OTHER_PAYOUTS: Final = 600
SPECIAL_PAYOUTS: Final = 300
SPECIAL_EVERY: Final = 4
INTERRUPTED: Final = 130
DEFAULT_ROUNDS: Final = (Load.MIXED.value, RANDOM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for: it ends when any of payouts and minutes is used up, or all is done."""

    payouts: int
    seed: int
    minutes: float
    rounds: tuple[str, ...]
    kills: int
    each: int
    times: int
    known: Counter[str]
    more: tuple[str, ...] = ()


def orders(wanted: Wanted) -> Iterator[Order]:
    """Give the rounds, one kind after the other, each with a seed of its own.

    Points that no mixed load comes to have rounds of their own, fewer and denser.
    """
    turn = itertools.cycle(wanted.rounds)
    special = itertools.cycle(load for load in Load if load is not Load.MIXED)
    for seed in itertools.count(wanted.seed):
        kind = next(turn)
        size = min(SIZES.get(kind, OTHER_PAYOUTS), wanted.payouts)
        yield Order(kind=kind, seed=seed, payouts=size, times=wanted.times, more=wanted.more)
        if kind == Load.MIXED and seed % SPECIAL_EVERY % 2 == 0:
            times = SPECIAL_EVERY * wanted.times
            size = min(SPECIAL_PAYOUTS, wanted.payouts)
            yield Order(kind=next(special), seed=seed, payouts=size, times=times)


async def run(wanted: Wanted, totals: Totals) -> None:
    """Hold rounds until the time is up or all points have killed often enough."""
    async with arena() as place:
        began = time.monotonic()
        for order in orders(wanted):
            if _enough(wanted, totals, began):
                return
            left_s = wanted.minutes * 60 - (time.monotonic() - began)
            seconds = max(10.0, min(order.killing_s, left_s))
            before = totals.kills + wanted.known
            now = replace(order, killing_s=seconds, before=before, enough=wanted.each)
            await hold(place, now, totals)
            await asyncio.to_thread(place.stack.revive)


async def hold(place: Arena, order: Order, totals: Totals) -> None:
    """Hold one round and tell it."""
    outcome = await ROUNDS.get(order.kind, kill)(place, order)
    wrong = totals.add(outcome)
    lines = [line(outcome)]
    if wrong:
        lines += [f"  again: {replay_of(order)}", *(f"  {one}" for one in wrong[:10])]
    for payout_id, story in outcome.stories.items():
        lines += [f"  wrong or slow: {payout_id}", *(f"    {one}" for one in story)]
    sys.stderr.write("\n".join(lines) + "\n")


async def again(order: Order, totals: Totals) -> None:
    """Hold one round once more."""
    async with arena() as place:
        await hold(place, order, totals)


def _enough(wanted: Wanted, totals: Totals, began: float) -> bool:
    if time.monotonic() - began >= wanted.minutes * 60:
        return True
    if totals.figures["published"] >= wanted.payouts:
        return True
    if Load.MIXED not in wanted.rounds:
        return False
    before = totals.kills + wanted.known
    return before.total() >= wanted.kills and all(before[name] >= wanted.each for name in POINTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, and return 1 if anything was wrong."""
    asked = _parser().parse_args(arguments)
    # The library tells at length of each connection that a round takes away.
    for name in ("aiormq", "aio_pika"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    totals = Totals()
    if asked.replay is not None:
        work = again(replace(_order(asked.replay), more=asked.more), totals)
    else:
        work = run(
            Wanted(
                payouts=asked.payouts,
                seed=asked.seed,
                minutes=asked.minutes,
                rounds=_kinds(asked.rounds),
                kills=asked.kills,
                each=asked.each,
                times=asked.times,
                known=_known(asked.known),
                more=asked.more,
            ),
            totals,
        )
    status = 0
    try:
        asyncio.run(_interruptible(work))
    except (KeyboardInterrupt, asyncio.CancelledError):
        status = INTERRUPTED
    sys.stdout.write(table(totals) + "\n")
    if asked.json is not None:
        asked.json.write_text(json.dumps(totals.told(), indent=2) + "\n", encoding="utf-8")
    return 1 if totals.violations else status


async def _interruptible(work: Coroutine[None, None, None]) -> None:
    """Do the work; a signal ends it in order, with all that it has started."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    await task


def _kinds(text: str) -> tuple[str, ...]:
    known = {*Load, RANDOM, *ROUNDS}
    asked = tuple(text.split(","))
    if unknown := set(asked) - known:
        raise SystemExit(f"unknown rounds: {sorted(unknown)}; there are {sorted(known)}")
    return asked


def _known(files: Sequence[Path]) -> Counter[str]:
    """Return how often each point has killed in earlier runs, as their `--json` tells."""
    known: Counter[str] = Counter()
    for file in files:
        told = json.loads(file.read_text(encoding="utf-8"))["kills_by_point"]
        known.update({name: count for name, count in told.items() if name in POINTS})
    return known


def _traits(text: str) -> tuple[str, ...]:
    asked = tuple(text.split(","))
    if unknown := set(asked) - {trait.name for trait in TRAITS}:
        raise argparse.ArgumentTypeError(f"unknown traits: {sorted(unknown)}")
    return asked


def _order(text: str) -> Order:
    kind, seed, payouts, times = text.split(":")
    return Order(kind=kind, seed=int(seed), payouts=int(payouts), times=int(times))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ops/chaos.sh", description=__doc__)
    parser.add_argument("--payouts", type=int, default=4000, help="at most so many commands")
    parser.add_argument("--seed", type=int, default=1, help="of the first round; each next adds 1")
    parser.add_argument("--minutes", type=float, default=5.0, help="at most so long")
    parser.add_argument("--rounds", default=",".join(DEFAULT_ROUNDS), help="kinds, by commas")
    parser.add_argument("--kills", type=int, default=10_000, help="enough kills in all")
    parser.add_argument("--each", type=int, default=100, help="enough kills of each point")
    parser.add_argument("--times", type=int, default=4, help="kills of each point in one round")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument(
        "--known", type=Path, nargs="*", default=[], help="files of --json whose kills count, too"
    )
    parser.add_argument(
        "--more", type=_traits, default=(), help="traits that half of the commands are to have"
    )
    parser.add_argument("--replay", help="KIND:SEED:PAYOUTS:TIMES of one round, as it is told")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
