"""The first pass: everything is found, lists are bounded, memory is too."""

import asyncio
import errno
import tracemalloc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ops.cli.exits import CommandError
from ops.cli.sending.check import BATCH, Check, Findings
from ops.cli.sending.columns import read_columns
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.duplicates import Duplicates
from ops.cli.sending.repeats import Lookup, Repeats
from ops.cli.sending.rows import Defaults, RowReader
from ops.cli.sending.telling import problem_lines, record, sums, warning_lines
from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import Payout, State
from payouts.domain.values import AccountName, PayoutId, RunId
from payouts.storage.oversight import Earlier, Wanted

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def known(**fields: str) -> Payout:
    """Gives a payout as the database would know it."""
    command = validate({"run_id": "run-1", "account": "default", **fields}, RULES)
    return payout_of(command, RULES, state=State.ACCEPTED, now=NOW)


async def check(
    tmp_path: Path,
    lines: Iterable[str],
    *payouts: Payout,
    limit: int = 20,
    lookup: Lookup | None = None,
    sent: int = 0,
) -> Findings:
    """Gives what is found in a file with these lines, against these payouts."""
    path = tmp_path / "file.csv"
    with path.open("w") as file:
        file.writelines(f"{line}\n" for line in lines)

    async def existing(ids: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
        return {one.payout_id: one for one in payouts if one.payout_id in ids}

    with CsvFile(path) as table:
        columns, _ = read_columns(table.header)
        defaults = Defaults(run_id="run-1", account="default")
        reader = RowReader(columns, defaults, {"default": RULES})
        checking = Check(table, reader, limit=limit, sent=sent)
        return await checking.run(existing, lambda _: None, lookup=lookup)


HEADER = "payout_id,msisdn,amount"


async def test_new_payouts_are_counted_and_summed(tmp_path: Path) -> None:
    """Count and sum are what a person is asked about."""
    found = await check(tmp_path, [HEADER, "a,254712000001,10", "b,254712000002,2.50"])
    assert found.problem_count == 0
    assert sums(found.new) == "2 payouts, KES 12.50, from account default"


async def test_an_id_that_stands_there_twice_is_a_problem(tmp_path: Path) -> None:
    """The earlier line is named; also if either row is wrong otherwise."""
    found = await check(tmp_path, [HEADER, "a,254712000001,10", "b,x,1", "a,254712000001,10"])
    told = [str(one) for one in found.problems]
    assert "line 4, payout_id: the same as in line 2; each payout needs an id of its own" in told
    assert found.problem_count == 2


async def test_the_same_receiver_and_amount_is_a_warning(tmp_path: Path) -> None:
    """It may be meant; the number is written in different ways, and not shown."""
    found = await check(tmp_path, [HEADER, "a,254712000001,10", "b,0712000001,10.00"])
    assert found.problem_count == 0
    told = list(warning_lines(found, derived=False, rows=2))
    assert told == ["line 3: the same receiver and amount as line 2, under another id."]


async def test_what_is_known_with_the_same_content_is_not_new(tmp_path: Path) -> None:
    """A file sent again has nothing to send."""
    payout = known(payout_id="a", msisdn="254712000001", amount="10")
    found = await check(tmp_path, [HEADER, "a,254712000001,10", "b,254712000002,5"], payout)
    assert (found.new_count, found.known_count, found.states) == (1, 1, {"accepted": 1})
    assert "1 payout, KES 10.00, from account default (1 accepted)" in "".join(
        warning_lines(found, derived=False, rows=2)
    )


async def test_what_is_known_with_other_content_is_a_problem(tmp_path: Path) -> None:
    """The differing fields are named, their values are not."""
    payout = known(payout_id="a", msisdn="254712999999", amount="11")
    found = await check(tmp_path, [HEADER, "a,254712000001,10"], payout)
    assert "line 2, payout_id: this payout exists with another amount, msisdn" in str(
        found.problems[0]
    )
    assert "9999" not in str(found.problems[0])


async def test_a_known_payout_of_another_run_is_a_problem(tmp_path: Path) -> None:
    """The run is part of the content."""
    payout = replace(known(payout_id="a", msisdn="254712000001", amount="10"), run_id=None)
    found = await check(tmp_path, [HEADER, "a,254712000001,10"], payout)
    assert "another run_id" in str(found.problems[0])


async def test_a_file_names_one_run(tmp_path: Path) -> None:
    """Two runs in a file could not be followed."""
    lines = [HEADER + ",run_id", "a,254712000001,1,r1", "b,254712000002,1,r2"]
    found = await check(tmp_path, lines)
    assert [str(one) for one in found.problems] == [
        "the file, run_id: names more than one run_id; send one file per run"
    ]


async def test_problems_are_listed_to_a_bound_and_all_counted(tmp_path: Path) -> None:
    """A million wrong rows do not fill the screen."""
    found = await check(tmp_path, [HEADER, *(f"id-{n},x,1" for n in range(30))], limit=3)
    assert (len(found.problems), found.problem_count) == (3, 30)
    assert list(problem_lines(found))[-1] == "and 27 more; --max-errors shows more of them."


async def test_a_missing_id_column_is_explained(tmp_path: Path) -> None:
    """What happens to an edited file is said before a person agrees."""
    found = await check(tmp_path, ["msisdn,amount", "254712000001,1", "254712000001,1"])
    told = list(warning_lines(found, derived=True, rows=2))
    assert "an edited one is a new run" in told[0]
    assert "the same receiver and amount as line 2" in told[1]


async def test_the_record_tells_all_without_receivers(tmp_path: Path) -> None:
    """A program gets sums as texts, and no number."""
    found = await check(tmp_path, [HEADER, "a,254712000001,10", "b,254712000002,x"])
    told = record(found, None, "run-1")
    assert told["new"] == [{"account": "default", "currency": "KES", "count": 1, "sum": "10.00"}]
    assert told["problem_count"] == 1
    assert "2547" not in str(told)


async def test_a_large_file_is_checked_in_bounded_memory(tmp_path: Path) -> None:
    """Twice the rows take no more of Python's memory. Proved by keeping all rows in a list."""

    async def peak(rows: int) -> int:
        numbers = (f"id-{n},2547{n:08},1" for n in range(rows))
        tracemalloc.start()
        try:
            found = await check(tmp_path, (line for part in ([HEADER], numbers) for line in part))
            assert found.new_count == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    first = await peak(3000)
    assert await peak(9000) < first * 1.3


@pytest.mark.parametrize("held", [0, 10**6], ids=["on disk", "in memory"])
def test_duplicates_remember_the_first_line(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    """However often it comes again; ids and payments are kept apart from each other.

    Proved by keeping the pieces on disk to themselves: then only what is in memory is found.
    """
    monkeypatch.setattr("ops.cli.sending.duplicates._MOST_HELD", held)
    command = validate({"payout_id": "a", "msisdn": "0712000001", "amount": "1"}, RULES)
    with Duplicates() as duplicates:
        duplicates.add_ids([(2, "a"), (3, "b"), (4, "a"), (5, "c"), (6, "c")])
        duplicates.add_payments([(2, command)])
        duplicates.add_ids([(7, "a"), (8, "d")])
        duplicates.add_payments([(9, command), (10, command)])
        assert sorted(duplicates.same_ids()) == [(4, 2), (6, 5), (7, 2)]
        assert sorted(duplicates.same_payments()) == [(9, 2), (10, 2)]


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder and the way out."""

    def full() -> None:
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr("ops.cli.sending.duplicates._MOST_HELD", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with Duplicates() as duplicates, pytest.raises(CommandError, match=r"space left.*TMPDIR"):
        duplicates.add_ids([(2, "a")])


async def test_rows_that_were_published_before_are_not_new(tmp_path: Path) -> None:
    """They are summed apart, looked for in the database, and repeat nothing."""
    asked: list[str] = []

    async def lookup(wanted: Sequence[Wanted]) -> Mapping[PayoutId, Earlier]:
        asked.extend(one.payout_id for one in wanted)
        return {}

    payout = known(payout_id="b", msisdn="254712000002", amount="2")
    lines = [HEADER, *(f"{one},25471200000{n},{n}" for n, one in enumerate("abcd", 1))]
    found = await check(tmp_path, lines, payout, lookup=lookup, sent=3)
    assert sums(found.sent) == "2 payouts, KES 4.00, from account default"
    assert sums(found.known) == "1 payout, KES 2.00, from account default"
    assert (found.new_count, asked) == (1, ["d"])
    assert "not sent again: 2 payouts, KES 4.00" in "".join(
        warning_lines(found, derived=False, rows=4)
    )
    assert record(found, None, "run-1")["sent_before"] == [
        {"account": "default", "currency": "KES", "count": 2, "sum": "4.00"}
    ]


async def test_problems_stand_in_the_order_of_the_lines(tmp_path: Path) -> None:
    """Also where they are found in different ways and at different times; the first are kept.

    Proved by keeping those that are found first.
    """
    lines = [HEADER, "a,254712000001,10", "b,x,1", "a,254712000003,3", "c,y,1", "d,z,1"]
    payout = known(payout_id="a", msisdn="254712000001", amount="11")
    found = await check(tmp_path, lines, payout, limit=4)
    assert [one.line for one in found.problems] == [2, 3, 4, 4]
    assert found.problem_count == 6


async def test_the_database_is_asked_while_the_next_rows_are_read(tmp_path: Path) -> None:
    """One question at a time; what ends the reading ends the question, too.

    Proved by awaiting each answer before the next batch is read: nothing is asked meanwhile.
    """
    path = tmp_path / "file.csv"
    rows = [f"id-{n},2547{n:08},1" for n in range(2 * BATCH)]
    path.write_text("\n".join([HEADER, *rows, '"unclosed', ""]))
    asking = asked = 0
    reading: list[int] = []

    async def existing(_: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
        nonlocal asking, asked
        asking, asked = asking + 1, asked + 1
        try:
            await asyncio.sleep(0)
        finally:
            asking -= 1
        return {}

    with CsvFile(path) as table:
        columns, _ = read_columns(table.header)
        reader = RowReader(columns, Defaults(run_id="r", account="default"), {"default": RULES})
        checking = Check(table, reader, limit=1)
        with pytest.raises(CommandError, match="cannot be read as CSV"):
            await checking.run(existing, lambda _: reading.append(asking))
    assert (reading, asking, asked) == ([0, 1], 0, 2)


async def test_rows_that_repeat_a_payout_of_late_are_told(tmp_path: Path) -> None:
    """Counted and listed to a bound, with the earlier payout and its age; no receiver is named."""
    lines = [f"id-{number},2547120000{number:02},10" for number in range(30)]
    earlier = Earlier(
        payout_id=PayoutId("old-1"),
        run_id=RunId("r-0"),
        state=State.SUCCEEDED,
        created_at=NOW - timedelta(days=3),
    )

    async def lookup(wanted: Sequence[Wanted]) -> Mapping[PayoutId, Earlier]:
        return {one.payout_id: earlier for one in wanted if one.payout_id != "id-0"}

    found = await check(tmp_path, [HEADER, *lines], lookup=lookup)
    assert found.repeat_count == 29
    told = list(warning_lines(found, derived=False, rows=30, now=NOW))
    assert told[0].startswith("29 rows with receiver and amount of another payout")
    assert told[1] == (
        "line 3: the same receiver and amount as payout old-1 of run r-0, made 3 d ago (succeeded)."
    )
    assert told[-1] == "and 19 more."
    assert record(found, None, "run-1")["repeats"] == 29


async def test_what_is_known_already_repeats_nothing(tmp_path: Path) -> None:
    """A file sent again is not warned of itself: its payouts are skipped."""
    asked: list[str] = []

    async def lookup(wanted: Sequence[Wanted]) -> Mapping[PayoutId, Earlier]:
        asked.extend(one.payout_id for one in wanted)
        return {}

    payout = known(payout_id="a", msisdn="254712000001", amount="10")
    lines = [HEADER, "a,254712000001,10", "b,254712000001,10"]
    await check(tmp_path, lines, payout, lookup=lookup)
    assert asked == ["b"]


async def test_repeats_are_looked_for_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """As soon as a bound is reached, and every row is looked at once."""
    monkeypatch.setattr("ops.cli.sending.repeats.PER_LOOK", 3)
    looks: list[int] = []

    async def lookup(wanted: Sequence[Wanted]) -> Mapping[PayoutId, Earlier]:
        looks.append(len(wanted))
        return {}

    repeats = Repeats(lookup, lambda _: None)
    for number in range(0, 8, 2):
        fields = [
            {"payout_id": f"a-{one}", "msisdn": "0712000001", "amount": "1"}
            for one in (number, number + 1)
        ]
        await repeats.add([(number, validate(one, RULES)) for one in fields])
    await repeats.finish()
    await repeats.finish()
    assert looks == [4, 4]
