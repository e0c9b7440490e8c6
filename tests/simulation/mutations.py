"""`python -m tests.simulation.mutations`: takes each guard out in turn, and counts seeds.

A simulation that finds nothing proves nothing unless it finds what is wrong. So each guard has a
mutation, and each mutation has to be found: the first seed that violates an invariant is told.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from tests.simulation.removals import REMOVALS
from tests.simulation.report import write_line
from tests.simulation.scenario import Size
from tests.simulation.world import play

PAGE: Final = Path(__file__).parents[2] / "docs" / "explanation" / "how-we-test.md"
BEGIN: Final = "<!-- begin mutations -->"
END: Final = "<!-- end mutations -->"
MOST_SEEDS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A guard that is taken out.

    Args:
        guard: its name.
        without: what is wrong without it.
        sql: the switches of the twin store that take it out.
        patched: whether `REMOVALS` takes it out of a service.
        kinds: the kinds of trouble to look with; empty: as each seed says.
        says: what the violation must say, where another guard that is out as well is noticed too.
        payouts: how many payouts each seed has.
    """

    guard: str
    without: str
    sql: tuple[str, ...] = ()
    patched: bool = False
    kinds: tuple[str, ...] = ()
    says: str = ""
    payouts: int = 20

    def violation(self, seed: int) -> str | None:
        """Return the invariant that this seed violates without the guard, if any."""
        size = Size(payouts=self.payouts, only=frozenset(self.kinds) if self.kinds else None)
        with REMOVALS[self.guard]() if self.patched else nullcontext():
            outcome = play(seed, size, without=frozenset(self.sql))
        found = str(outcome.violations[0]) if outcome.violations else ""
        return found if found and self.says in found else None


class Found(NamedTuple):
    """How many seeds it took, and what was seen; no seeds: it was not found."""

    guard: str
    seeds: int | None
    violation: str
    seconds: float


def search(mutation: Mutation, most_seeds: int = MOST_SEEDS) -> Found:
    """Return the first seed that notices that the guard is gone."""
    began = time.process_time()
    for seed in range(most_seeds):
        violation = mutation.violation(seed)
        if violation is not None:
            return Found(mutation.guard, seed + 1, violation, time.process_time() - began)
    return Found(mutation.guard, None, "", time.process_time() - began)


def table(found: Sequence[Found], mutations: Sequence[Mutation]) -> str:
    """Return the table of the page: each guard, what its loss does, and the seeds needed."""
    by_guard = {one.guard: one for one in found}
    lines = ["| guard | without it | seeds needed | found by |", "| --- | --- | --- | --- |"]
    for mutation in mutations:
        one = by_guard[mutation.guard]
        seeds = "**not found**" if one.seeds is None else f"{one.seeds:,}"
        if mutation.kinds:
            seeds += f" with {', '.join(mutation.kinds)}"
        by = one.violation.split(" at ")[0] if one.violation else "–"
        lines.append(f"| {mutation.guard} | {mutation.without} | {seeds} | {by} |")
    return "\n".join(lines)


def page_with(text: str) -> str:
    """Return the page with the table in its place."""
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    """Look for every mutation; 0 if all were found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutations")
    parser.add_argument("guards", nargs="*", help="only these")
    parser.add_argument("--seeds", type=int, default=MOST_SEEDS, help="at most, of each")
    parser.add_argument("--jobs", type=int, default=1, help="how many processors to use")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    asked = parser.parse_args(arguments)
    chosen = [one for one in MUTATIONS if not asked.guards or one.guard in asked.guards]
    found = []
    for one in _searched(chosen, asked.seeds, asked.jobs):
        seeds = "NOT FOUND" if one.seeds is None else str(one.seeds)
        write_line(f"{one.guard:<34}{seeds:>10}{one.seconds:>8.0f} s  {one.violation}")
        found.append(one)
    if asked.write:
        PAGE.write_text(page_with(table(found, chosen)), encoding="utf-8")
    return 0 if all(one.seeds is not None for one in found) else 1


def _searched(chosen: Sequence[Mutation], most: int, jobs: int) -> Iterator[Found]:
    if jobs < 2:
        for mutation in chosen:
            yield search(mutation, most)
        return
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        yield from pool.map(search, chosen, [most] * len(chosen))


def _sql(guard: str, without: str, *switches: str, kinds: tuple[str, ...] = ()) -> Mutation:
    return Mutation(guard=guard, without=without, sql=switches or (guard,), kinds=kinds)


def _service(guard: str, without: str, *, kinds: tuple[str, ...] = ()) -> Mutation:
    return Mutation(guard=guard, without=without, patched=True, kinds=kinds)


_LOSES: Final = ("crash", "freeze", "gateway-lost", "gateway-slow", "store")
_RESTORES: Final = ("restore", "results-never", "results-fail", "gateway-lost")
_ORDERS: Final = ("orders", "gateway-refuses", "results-fail", "results-never")

MUTATIONS: Final = (
    # Intake.
    _service("intent before effect", "a request leaves before its intent is durable"),
    _service("command acknowledged last", "RabbitMQ forgets a command before it is durable"),
    _service("repeats are not submitted", "a repeated command is sent as if it were new"),
    _service("instants of intents differ", "two deliveries in one instant both send"),
    _service(
        "suspects are tried alone",
        "innocents are put aside as poison",
        kinds=("broker", "crash", "store-away"),
    ),
    _sql("intent once", "a repeated command writes its payout anew"),
    _sql("conflict compare", "other content under a known id is taken for a repeat"),
    _sql("insert paused", "an intent of a paused account or run is sent"),
    _sql("insert held", "an intent that looks like a repeat is sent"),
    # Sending.
    _service("lease lapses", "a worker that was silent still sends"),
    _service("fence before the first byte", "nobody asks in the instant before sending"),
    _service("slots", "a worker sends without a bound"),
    _service("patience", "an answer is dropped when the database is away"),
    # Transitions.
    _sql(
        "move sources",
        "an answer moves a payout from whatever state",
        "move sources",
        "ended stays",
        "transition legal",
    ),
    _sql(
        "move attempt",
        "an answer of an earlier attempt moves a later one",
        kinds=("freeze", "gateway-slow", "gateway-lost", "gateway-refuses"),
    ),
    # Ends.
    _service("result acknowledged last", "M-PESA is told before a Result is durable"),
    _service("contradictions are kept", "what contradicts an end is dropped"),
    _service("unclear Result is doubt", "an unclear Result fails its payout"),
    _service(
        "duplicate is doubt",
        "code 15 is taken for a failure",
        kinds=("gateway-queues", "gateway-lost"),
    ),
    _service("ambiguous code is doubt", "code 17 is taken for a failure"),
    _service("unknown outcome is doubt", "a time-out or a lost connection fails a payout"),
    _service("unknown outcome is not sent again", "a time-out is sent again without asking"),
    _service(
        "later refusal is doubt",
        "a refusal of a later send fails a payout whose first send was left open",
        kinds=("gateway-lags", "gateway-refuses"),
    ),
    Mutation(
        guard="doubt outlasts waiting",
        without="a passing refusal of a later send forgets that an earlier one was left open",
        sql=("doubt outlasts waiting",),
        kinds=("gateway-lags", "gateway-refuses", "drain"),
    ),
    _service("overdue is doubt", "an overdue Result fails its payout"),
    _sql(
        "first end wins",
        "a later Result overwrites an end",
        "completion sources",
        "ended stays",
        "unique completion event",
    ),
    _sql("completion amount", "a Result about another amount ends a payout"),
    # Events.
    _sql("event in the same commit", "an end and its event are two commits"),
    _sql(
        "one completion event",
        "a payout that ends twice has two events",
        "completion sources",
        "ended stays",
        "unique completion event",
    ),
    _service("derived event ids", "each time an event is told it has another id"),
    _service("published before marked", "an event is marked before RabbitMQ has it"),
    # Sweeps.
    _service("abandoned is found", "what dead workers sent stays as it is"),
    _sql("abandoned only if silent", "what living workers send is taken from them"),
    _sql("dead stay dead", "a worker that was declared dead goes on"),
    Mutation(
        guard="orphans are revoked",
        without="what is in flight is taken for orphaned, and sent after all",
        sql=("orphans in flight",),
        patched=True,
        kinds=("pace", "gateway-refuses"),
    ),
    _sql("claim state", "what is being sent is claimed again"),
    _sql("claim paused", "the due sweep claims for paused accounts and runs"),
    _sql("claim held", "the due sweep claims what is held"),
    _sql("claim expired", "the due sweep claims what has expired"),
    _sql("expired unsent only", "what was sent expires"),
    # Doubt.
    _service("no answer is no proof", "a question without an answer counts as *not found*"),
    _service(
        "under way is known", "what is under way counts as *not found*", kinds=("gateway-lags",)
    ),
    _service(
        "sightings forget",
        "*not found* stays counted though it was seen since",
        kinds=("gateway-lags",),
    ),
    _service(
        "refusals in the log settle",
        "a refusal in the log counts at once",
        kinds=("gateway-slow", "gateway-refuses"),
    ),
    _sql(
        "not found grace",
        "*not found* counts right after a send",
        "not found grace",
        "resend grace",
    ),
    _sql(
        "not found interval",
        "*not found* counts twice in a moment",
        "not found interval",
        "resend interval",
    ),
    Mutation(
        guard="proof count",
        without="one *not found* is enough",
        sql=("resend proof count", "resend interval"),
        patched=True,
    ),
    _sql(
        "resend state",
        "what is no longer in doubt is sent again",
        "resend state",
        "transition legal",
        kinds=("freeze", "gateway-lost", "gateway-refuses"),
    ),
    _sql("resend by policy", "what has arrived is sent again by policy"),
    _sql(
        "resend queued", "what the broker keeps is sent again", "not found queued", "resend queued"
    ),
    _sql("resend held", "what is held is sent again"),
    _sql("resend paused", "what is paused is sent again"),
    _sql(
        "not found forgotten",
        "*not found* of an earlier send counts for a later one",
        "not found forgotten",
        "resend grace",
    ),
    # Orders.
    _sql("retry only failed", "what has not failed is submitted a second time", kinds=_ORDERS),
    _sql(
        "retry contradicted",
        "what a Result contradicts is submitted a second time",
        kinds=(*_ORDERS, "results-contradict"),
    ),
    _sql(
        "contradiction holds",
        "a contradiction leaves the second submission to be sent",
        kinds=(*_ORDERS, "results-contradict"),
    ),
    _sql("retry once", "a payout is submitted a second time twice", kinds=_ORDERS),
    _sql("retry four eyes", "one person swears and submits again", kinds=_ORDERS),
    _sql("cancel unsent only", "what may be on its way is cancelled", kinds=_ORDERS),
    _sql(
        "resolve in doubt only", "what is not in doubt is ended by a person's word", kinds=_ORDERS
    ),
    _sql("resolve settled", "a person's word counts right after a send", kinds=(*_ORDERS, *_LOSES)),
    # Restores.
    _service("restore is told", "a restored database goes on as if nothing was", kinds=_RESTORES),
    Mutation(
        guard="unmatched held",
        without="a payout is sent whose Result came before it",
        sql=("unmatched held", "insert ask first"),
        kinds=_RESTORES,
        says="although a Result for its id has come",
    ),
    _sql("insert ask first", "after a restore a command is sent without asking", kinds=_RESTORES),
    _sql(
        "claim ask first",
        "after a restore what is open is sent without asking",
        kinds=(*_RESTORES, "pauses", "gateway-refuses"),
    ),
    _sql(
        "expired ask first",
        "after a restore what may have been sent expires unasked",
        kinds=_RESTORES,
    ),
    _sql(
        "expired doubt",
        "after a restore what was not found expires",
        kinds=(*_RESTORES, "gateway-lags", "gateway-queues"),
    ),
    _sql(
        "new account asks first",
        "an account that is new to a restored database asks nobody",
        kinds=(*_RESTORES, "pauses"),
    ),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
