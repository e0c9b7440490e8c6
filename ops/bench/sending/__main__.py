"""`python -m ops.bench.sending`, or `ops/bench.sh sending`: `payouts send` of a large file.

A file of very many rows is sent to a private RabbitMQ: in one go, which is timed; then with Ctrl-C
at random places, each time sent again; then with kill -9. Each time all commands are taken out of
the queue and counted: every row must have come, and none twice but those that a kill left open.
Exit status 1 if that is not so. Let the machine do nothing else while it is timed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGKILL
from typing import Any, Final

from ops.bench.filling import fill
from ops.bench.sending.budget import budget
from ops.bench.sending.report import document, lines
from ops.bench.sending.rounds import Round, Tell, in_one_go, interrupted, random_places
from ops.bench.sending.tally import write_file
from ops.bench.sending.tries import bed
from ops.local import LocalStack
from ops.local.errors import LocalServerError

NAME: Final = "bench-sending"
ROWS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to do: `books` payouts are in the database before, and `stops` of each kind are made."""

    rows: int
    stops: int
    books: int
    seed: int


async def main(wanted: Wanted, tell: Tell) -> tuple[dict[str, Any], list[str], bool]:
    """Return the report for programs and for people, and whether all is as it should be.

    Raises:
        BenchError: a row came that must not, or a try did not end as it should.
        LocalServerError: something did not start.
    """
    async with LocalStack(NAME) as servers:
        file = servers.folder / "salaries.csv"
        await asyncio.to_thread(write_file, file, wanted.rows)
        tell("Taking the budget of a row")
        steps = await budget(file, await servers.fresh_vhost("budget"))
        rounds = [one async for one in _rounds(servers, file, wanted, tell)]
    told = (rounds, steps, wanted.rows)
    return document(*told), list(lines(*told)), all(one.fine for one in rounds)


async def _rounds(
    servers: LocalStack, file: Path, wanted: Wanted, tell: Tell
) -> AsyncIterator[Round]:
    async with bed(servers, "in_one_go", file) as one:
        if wanted.books:
            tell(f"Filling the books with {wanted.books:,} payouts")
            await fill(one.database_url, wanted.books)
        tell(f"Sending {wanted.rows:,} rows in one go")
        yield await in_one_go(one, wanted.rows, tell)
    for seed, number in enumerate((SIGINT, SIGKILL) if wanted.stops else (), wanted.seed):
        places = random_places(seed, wanted.rows, wanted.stops)
        async with bed(servers, number.name.lower(), file) as one:
            yield await interrupted(one, wanted.rows, number, places, tell)


def _wanted(arguments: Sequence[str] | None) -> tuple[Wanted, bool]:
    parser = argparse.ArgumentParser(
        prog="ops/bench.sh sending",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of the file ({ROWS})")
    parser.add_argument("--stops", type=int, default=3, help="by Ctrl-C, and by kill -9 (3)")
    parser.add_argument("--books", type=int, default=0, help="payouts in the database before (0)")
    parser.add_argument("--seed", type=int, default=None, help="of the places (random)")
    parser.add_argument("--json", action="store_true", help="write the figures for programs")
    chosen = parser.parse_args(arguments)
    if chosen.rows <= chosen.stops or chosen.stops < 0 or chosen.books < 0:
        parser.error("there must be more rows than stops, and nothing below 0")
    seed = secrets.randbelow(10**6) if chosen.seed is None else chosen.seed
    wanted = Wanted(rows=chosen.rows, stops=chosen.stops, books=chosen.books, seed=seed)
    return wanted, bool(chosen.json)


if __name__ == "__main__":
    chosen, as_json = _wanted(None)
    print(f"--seed {chosen.seed}", file=sys.stderr)
    try:
        found, report, fine = asyncio.run(
            main(chosen, lambda text: print(text, file=sys.stderr, flush=True))
        )
    except LocalServerError as error:
        sys.exit(str(error))
    print(json.dumps(found, indent=1) if as_json else "\n".join(report))
    sys.exit(0 if fine else 1)
