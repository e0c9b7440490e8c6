"""Fills a database with payouts that have ended, as the product would leave them, by COPY.

`python -m ops.bench.filling DATABASE_URL PAYOUTS` fills one that `payouts db upgrade` has made.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

import asyncpg

from payouts.domain.events import FAILED, SUCCEEDED, event_id_for

CHUNK: Final = 20_000
RUN_OF: Final = 100_000
OLDEST: Final = timedelta(days=365)
NEWEST: Final = timedelta(days=2)
_FAILED_OF_100: Final = 3
# Each number's own digits, without any order, as M-PESA's ids look.
_MIX: Final = 0x9E3779B97F4A7C15
_MIXED: Final = 1 << 64
_NONE: Final = r"\N"
_SECOND_US: Final = 1_000_000
_DAY_US: Final = 86_400 * _SECOND_US
_ENDS: Final = {
    "succeeded": ("0", "completed", "The service request is processed successfully."),
    "failed": ("2040", "refused-final", "Credit Party customer type is not supported."),
}
_COLUMNS: Final = {
    "payouts": (
        "id, payout_id, account, run_id, amount_minor, currency, msisdn, command_id, metadata,"
        " originator_conversation_id, conversation_id, transaction_id, state, came_from, attempts,"
        " reason_source, reason_code, reason_class, reason_description, created_at, submitted_at,"
        " last_sent_at, completed_at"
    ),
    "timeline": (
        "payout, at, actor, kind, from_state, to_state, attempt, source, code, conversation_id,"
        " transaction_id"
    ),
    "events": "event_id, payout_id, type, created_at, published_at",
}

Tell = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """One payout that has ended, made of its number; its lines are for COPY."""

    number: int
    payout_id: str
    state: str
    gateway_id: str
    receipt: str
    created: str
    sent: str
    answered: str
    completed: str
    published: str

    def payout(self) -> str:
        number, mixed = self.number, _mixed(self.number)
        code, klass, words = _ENDS[self.state]
        return (
            f"{number}\t{self.payout_id}\tdefault\t{_run(number)}\t{mixed % 20_000_000 + 100}\tKES"
            f"\t2547{mixed % 100_000_000:08d}\tSalaryPayment"
            f'\t{{"employee": "E{mixed % 1_000_000:06d}"}}\t600000_ORG_{self.payout_id}'
            f"\t{self.gateway_id}\t{self.receipt}\t{self.state}\taccepted\t1\tresult\t{code}"
            f"\t{klass}\t{words}\t{self.created}\t{self.sent}\t{self.answered}\t{self.completed}\n"
        )

    def timeline(self) -> str:
        number, none = self.number, _NONE
        worker, server = f"worker {number // RUN_OF + 1}", "callback server payments-1:4711"
        code, _, _ = _ENDS[self.state]
        return (
            f"{number}\t{self.created}\t{worker}\tintent\t{none}\tsubmitting\t1\t{none}\t{none}"
            f"\t{none}\t{none}\n"
            f"{number}\t{self.answered}\t{worker}\tanswer\tsubmitting\taccepted\t1\tresponse\t0"
            f"\t{self.gateway_id}\t{none}\n"
            f"{number}\t{self.completed}\t{server}\tresult\taccepted\t{self.state}\t1\tresult"
            f"\t{code}\t{self.gateway_id}\t{self.receipt}\n"
        )

    def event(self) -> str:
        kind = FAILED if self.state == "failed" else SUCCEEDED
        event_id = event_id_for(self.payout_id, kind)
        return f"{event_id}\t{self.payout_id}\t{kind}\t{self.completed}\t{self.published}\n"


async def fill(
    database_url: str, payouts: int, *, until: datetime | None = None, tell: Tell | None = None
) -> None:
    """Add so many ended payouts with their timeline and events, oldest first; then vacuum.

    They ended between a year and two days before `until` (now), 3 of 100 failed, each 100,000
    make a run. Indexes and triggers are at work meanwhile, so that sizes are those of rows that
    came one after the other. Called again, it adds more.

    Args:
        database_url: a database that has the schema.
        payouts: how many.
        until: before which all have ended.
        tell: is told how many more are in.
    """
    newest_us = int(((until or datetime.now(UTC)) - NEWEST).timestamp() * _SECOND_US)
    step_us = (OLDEST - NEWEST) // timedelta(microseconds=max(payouts, 1))
    connection = await asyncpg.connect(database_url)
    try:
        first = await connection.fetchval("SELECT coalesce(max(id), 0) + 1 FROM payouts")
        for start in range(0, payouts, CHUNK):
            numbers = range(start, min(start + CHUNK, payouts))
            chunk = [_ended(first + n, newest_us - step_us * (payouts - n)) for n in numbers]
            async with connection.transaction():
                await _copy(connection, chunk)
            if tell is not None:
                tell(len(chunk))
        await connection.execute(
            "SELECT setval(pg_get_serial_sequence('payouts', 'id'), max(id)) FROM payouts"
        )
        await connection.execute("VACUUM (ANALYZE) payouts, timeline, events", timeout=None)
    finally:
        await connection.close()


async def _copy(connection: asyncpg.Connection, chunk: Sequence[_Ended]) -> None:
    lines = {"payouts": _Ended.payout, "timeline": _Ended.timeline, "events": _Ended.event}
    for table, line in lines.items():

        async def body(line: Callable[[_Ended], str] = line) -> AsyncIterator[bytes]:
            yield "".join(map(line, chunk)).encode()

        await connection.copy_to_table(
            table, source=body(), columns=_COLUMNS[table].split(", "), format="text"
        )


def _ended(number: int, at_us: int) -> _Ended:
    mixed = _mixed(number)
    failed = number % 100 < _FAILED_OF_100
    return _Ended(
        number=number,
        payout_id=f"{_run(number)}-{number % RUN_OF:06d}-{mixed >> 32:08x}",
        state="failed" if failed else "succeeded",
        gateway_id=f"AG_{_day(at_us // _DAY_US).replace('-', '')}_0000{mixed:016x}",
        receipt=_NONE if failed else f"S{mixed >> 28:09X}",
        created=_instant(at_us),
        sent=_instant(at_us + 12_000),
        answered=_instant(at_us + 55_000),
        completed=_instant(at_us + 1_400_000),
        published=_instant(at_us + 1_420_000),
    )


def _run(number: int) -> str:
    return f"salaries-{number // RUN_OF:05d}"


def _mixed(number: int) -> int:
    return number * _MIX % _MIXED


def _instant(at_us: int) -> str:
    """Return an instant as PostgreSQL reads it; there are five to each payout."""
    day, rest_us = divmod(at_us, _DAY_US)
    second, fraction_us = divmod(rest_us, _SECOND_US)
    return f"{_day(day)} {_clock(second)}.{fraction_us:06d}+00"


@lru_cache(maxsize=1000)
def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


@lru_cache(maxsize=86_400)
def _clock(second: int) -> str:
    return f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Fill a database, and say how far it has come."""
    parser = argparse.ArgumentParser(prog="python -m ops.bench.filling", description=__doc__)
    parser.add_argument("database_url")
    parser.add_argument("payouts", type=int)
    chosen = parser.parse_args(arguments)
    done = 0

    def tell(more: int) -> None:
        nonlocal done
        done += more
        print(f"{done:,} payouts", file=sys.stderr)

    asyncio.run(fill(chosen.database_url, chosen.payouts, tell=tell))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
