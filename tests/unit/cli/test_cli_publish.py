"""Which rows are done once so many commands are confirmed; when a signal asks to stop."""

import asyncio
import os
import signal
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from ops.cli.sending.interruption import stopping
from ops.cli.sending.publish import Flight
from tests.command_line import ROOT


@given(
    before=st.integers(0, 50),
    known=st.lists(st.booleans(), min_size=1, max_size=12),
    confirmed=st.integers(0, 80),
)
def test_no_row_counts_as_done_before_all_up_to_it_are(
    before: int, known: list[bool], confirmed: int
) -> None:
    """Rows that the database knows are done with whatever stands before them."""
    first = 1000
    places = [first + place for place, one in enumerate(known, 1) if not one]
    flight = Flight(published=before, places=places, rows=first + len(known))
    rows = flight.rows_at(confirmed)
    open_rows = places[max(0, confirmed - before) :]
    if rows is None:
        assert confirmed < flight.end
        assert confirmed <= before
    else:
        assert all(place > rows for place in open_rows)
        assert open_rows or rows == first + len(known)


def asks(number: signal.Signals) -> signal.Signals | None:
    """Gives what is known after this process was sent a signal."""
    with stopping() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        return stop.signal


def test_the_first_signal_asks_to_stop() -> None:
    """Ctrl-C, an end ordered by the system, a terminal that is gone; handlers are put back."""
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        assert asks(number) is number
    after = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert after == before


def test_the_second_signal_acts_as_ever() -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    program = (
        "import os, signal\n"
        "from ops.cli.sending.interruption import stopping\n"
        "with stopping() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(stop.asked, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    ran = subprocess.run(  # noqa: S603 - a program of this test's own
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, text=True
    )
    assert (ran.stdout.strip(), ran.returncode) == ("True", -signal.SIGTERM)


def test_what_is_ignored_stays_ignored() -> None:
    """As `nohup` has it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert asks(signal.SIGHUP) is None
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_outside_the_main_thread_nothing_is_asked() -> None:
    """Python has no signals there."""

    def apart() -> bool:
        with stopping() as stop:
            return stop.asked

    assert await asyncio.to_thread(apart) is False
