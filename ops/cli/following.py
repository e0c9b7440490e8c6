"""Following a run to its end by looking at the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from ops.cli.exits import Exit
from ops.cli.screen import Screen
from ops.cli.totals import number_in, pace_lines, reasons_table, run_record, states_table
from ops.cli.words import count
from payouts.domain.errors import StoreUnavailableError
from payouts.domain.payout import ENDED, State
from payouts.domain.values import RunId
from payouts.storage.reading import PayoutsReader
from payouts.storage.totals import RunSummary

LOOK_EVERY_S: Final = 0.5
_SAY_EVERY_S: Final = 30.0
_BAR_WIDTH: Final = 40
_AT_MOST_A_TENTH: Final = 9  # Looking takes at most this part of the time: 1 in 1 + 9.


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run stood when it was followed no more."""

    exit: Exit
    record: dict[str, object] | None
    table: RenderableType


async def follow(
    screen: Screen,
    reader: PayoutsReader,
    run_id: RunId,
    *,
    expected: int,
    deadline_s: float | None,
) -> Outcome:
    """Return once `expected` payouts of the run and all others of it have ended, or it is late.

    Exit 0 if all succeeded, 3 if not, or if the deadline came first. A database that is away is
    asked again.
    """
    loop = asyncio.get_running_loop()
    late = None if deadline_s is None else loop.time() + deadline_s
    with _showing(screen) as show:
        while True:
            began = loop.time()
            summary = await _look(screen, reader, run_id)
            show(summary, expected)
            if summary is not None and _is_over(summary, expected):
                return _outcome(summary, expected)
            now = loop.time()
            rest_s = max(LOOK_EVERY_S, (now - began) * _AT_MOST_A_TENTH)
            if late is not None and now + rest_s > late:
                screen.say("The deadline has come before the end of the run; the run goes on.")
                return _outcome(summary, expected)
            await asyncio.sleep(rest_s)


async def _look(screen: Screen, reader: PayoutsReader, run_id: RunId) -> RunSummary | None:
    try:
        return await reader.run_summary(run_id)
    except StoreUnavailableError:
        screen.say("The database does not answer; looking again.")
        return None


def _is_over(summary: RunSummary, expected: int) -> bool:
    ended = number_in(summary.states, ENDED)
    return ended >= expected and ended == number_in(summary.states)


def _outcome(summary: RunSummary | None, expected: int) -> Outcome:
    if summary is None:
        return Outcome(exit=Exit.UNFINISHED, record=None, table=Text("nothing is known yet"))
    succeeded = number_in(summary.states, {State.SUCCEEDED})
    done = succeeded == number_in(summary.states) and succeeded >= expected
    now = datetime.now(UTC)
    return Outcome(
        exit=Exit.DONE if done else Exit.UNFINISHED,
        record=run_record(summary, now),
        table=_picture(summary, now),
    )


def _picture(summary: RunSummary, now: datetime) -> RenderableType:
    lines = [Text(line) for line in pace_lines(summary, now)]
    return Group(
        Text(summary.run_id, style="bold"),
        *lines,
        Text(),
        states_table(summary.states),
        Text(),
        reasons_table(summary.reasons),
    )


@contextmanager
def _showing(screen: Screen) -> Iterator[Callable[[RunSummary | None, int], None]]:
    """Give what shows a look: a live picture at a terminal, a line now and then in a pipe."""
    if not screen.animated:
        yield _Lines(screen).show
        return
    with Live(console=screen.err, transient=True, auto_refresh=False) as live:

        def show(summary: RunSummary | None, expected: int) -> None:
            if summary is not None:
                live.update(_moving(summary, expected), refresh=True)

        yield show


def _moving(summary: RunSummary, expected: int) -> RenderableType:
    ended = number_in(summary.states, ENDED)
    total = max(expected, number_in(summary.states))
    return Group(
        Text(f"{count(ended)} of {count(total)} payouts have ended"),
        Padding(ProgressBar(total=total, completed=ended, width=_BAR_WIDTH), (0, 0, 1, 0)),
        states_table(summary.states),
    )


class _Lines:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._due = asyncio.get_running_loop().time() + _SAY_EVERY_S

    def show(self, summary: RunSummary | None, expected: int) -> None:
        now = asyncio.get_running_loop().time()
        if summary is None or now < self._due:
            return
        self._due = now + _SAY_EVERY_S
        ended = number_in(summary.states, ENDED)
        self._screen.say(f"{count(ended)} of {count(expected)} payouts have ended.")
