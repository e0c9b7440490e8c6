"""A statement against real books: each planted difference is found, and nothing else."""

from __future__ import annotations

import csv
import stat
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from cli_bed import LOST, Worker

from payouts.domain.payout import State
from tests.command_line import Ran, payouts
from tests.statements import Entry, Statement, of_ledger

pytestmark = pytest.mark.servers

COUNT = 12
NUMBERS = [f"25471100{n:04}" for n in range(COUNT)]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Gives a connection to the books."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


class Bed:
    """Books of a dozen payouts that all succeeded, and the statement that agrees with them."""

    def __init__(self, worker: Worker, environ: dict[str, str], folder: Path) -> None:
        self.worker = worker
        self.environ = environ
        self.file = folder / "statement.csv"
        self.out = folder / "found.csv"
        self.began = datetime.now(UTC)

    async def paid(self) -> Statement:
        """Makes the payouts and gives their statement, with the business of others in it."""
        ledger = []
        for number in range(COUNT):
            payout = await self.worker.submitting(
                f"p-{number}", amount=f"{1000 + number}.50", msisdn=NUMBERS[number]
            )
            await self.worker.ended(payout)
            ledger.append(
                {
                    "originator_conversation_id": payout.originator_conversation_id,
                    "receipt": f"Rp-{number}",
                    "msisdn": payout.msisdn,
                    "amount": f"{1000 + number}.50",
                    "command_id": payout.command_id,
                    "paid_at": datetime.now(UTC).isoformat(),
                }
            )
        return of_ledger(ledger).plus(*self.others())

    def others(self) -> tuple[Entry, ...]:
        """Gives lines that are nobody's payout; the first and the last bound the window."""
        facts: dict[str, Any] = {"amount": "500.00", "at": self.began, "details": "x"}
        facts["at"] -= timedelta(minutes=1)
        late = datetime.now(UTC) + timedelta(minutes=1)
        return (
            Entry(receipt="RDEPOSIT1", paid_in=True, reason="Organization Transfer", **facts),
            Entry(receipt="RSETTLE1", reason="Business Pay Bill", **{**facts, "at": late}),
            Entry(receipt="RFAILED1", status="Failed", **facts),
        )

    async def reconcile(self, statement: Statement, *arguments: str, **settings: str) -> Ran:
        """Writes the statement down and compares it."""
        self.file.write_bytes(statement.content())
        environ = {**self.environ, **settings}
        return await payouts("reconcile", str(self.file), *arguments, environ=environ)

    async def differences(self, statement: Statement) -> list[tuple[str, str | None]]:
        """Gives kind and payout of each difference."""
        ran = await self.reconcile(statement, "--json")
        assert ran.status == (3 if ran.json["differences"] else 0), ran
        assert ran.json["difference_count"] == len(ran.json["differences"])
        return [(one["kind"], one["payout_id"]) for one in ran.json["differences"]]


@pytest.fixture
def bed(worker: Worker, environ: dict[str, str], tmp_path: Path) -> Bed:
    """Gives books, and a place for the statement."""
    return Bed(worker, environ, tmp_path)


async def test_equal_books_are_equal_and_every_line_is_told(bed: Bed) -> None:
    """Exit 0; counts and sums on both sides; charges and others' business told apart."""
    statement = await bed.paid()
    ran = await bed.reconcile(statement, "--json", "--out", str(bed.out))
    assert (ran.status, ran.err) == (0, ""), ran
    record = ran.json
    total = f"{sum(1000 + n for n in range(COUNT)) + COUNT * 0.5:.2f}"
    assert (record["paid_there"], record["paid_there_sum"]) == (COUNT, total)
    assert (record["succeeded_here"], record["succeeded_here_sum"]) == (COUNT, total)
    kinds = {one["kind"]: (one["count"], one["sum"], one["difference"]) for one in record["kinds"]}
    assert kinds == {
        "matched": (COUNT, total, False),
        "charge": (COUNT, "108.00", False),
        "money in": (1, "500.00", False),
        "other business": (1, "500.00", False),
        "not completed there": (1, "500.00", False),
    }
    told = await bed.reconcile(statement)
    assert "The statement and the books are equal." in told.out
    with bed.out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["kind"] for row in rows)["matched"] == COUNT
    assert {row["payout_id"] for row in rows} >= {f"p-{number}" for number in range(COUNT)}
    assert stat.S_IMODE(bed.out.stat().st_mode) == 0o600


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
async def test_the_exports_encoding_and_delimiter_change_nothing(bed: Bed, encoding: str) -> None:
    """The same lines, the same verdict."""
    statement = await bed.paid()
    changed = Statement(entries=statement.entries, delimiter=";", encoding=encoding)
    assert await bed.differences(changed) == []


async def test_receipts_alone_match_where_details_name_no_id(bed: Bed) -> None:
    """Many statements say no id of ours anywhere."""
    statement = await bed.paid()
    for number in range(COUNT):
        statement = statement.changed(f"Rp-{number}", details="Business Payment")
    assert await bed.differences(statement) == []
    shifted = statement.changed("Rp-3", receipt="RNEW")
    assert sorted(await bed.differences(shifted), key=str) == [
        ("missing here", None),
        ("missing there", "p-3"),
    ]


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        ({"amount": "1.00"}, "different amount"),
        ({"status": "Failed"}, "different status"),
        ({"receipt": "ROTHER"}, "different receipt"),
        ({"party": "254799999999 - JUMA"}, "different receiver"),
        ({"party": "2547****0000 - JUMA"}, "different receiver"),
    ],
)
async def test_one_changed_fact_is_one_difference(
    bed: Bed, facts: dict[str, str], kind: str
) -> None:
    """It names the payout and the kind, and nothing else is found."""
    statement = await bed.paid()
    assert await bed.differences(statement.changed("Rp-4", **facts)) == [(kind, "p-4")]


async def test_a_hidden_receiver_that_fits_is_no_difference(bed: Bed) -> None:
    """What cannot be read is not compared."""
    statement = await bed.paid()
    shown = {"party": "2547****0004 - JUMA", "details": "Business Payment"}
    assert await bed.differences(statement.changed("Rp-4", **shown)) == []


async def test_what_is_missing_is_told_on_its_side(bed: Bed) -> None:
    """A payment that nobody here ordered, and a payout that the statement does not have.

    Proved by leaving out the second pass over the books: the missing line is not found.
    """
    statement = await bed.paid()
    stranger = Entry(receipt="RSTRANGER", amount="7.00", at=datetime.now(UTC))
    planted = statement.without("Rp-6").plus(stranger)
    ran = await bed.reconcile(planted, "--json")
    assert ran.status == 3
    found = {one["kind"]: one for one in ran.json["differences"]}
    assert set(found) == {"missing here", "missing there"}
    assert (found["missing here"]["receipt"], found["missing here"]["amount"]) == (
        "RSTRANGER",
        "7.00",
    )
    assert (found["missing there"]["payout_id"], found["missing there"]["amount"]) == (
        "p-6",
        "1006.50",
    )
    lines = bed.file.read_text().splitlines()
    assert "RSTRANGER" in lines[found["missing here"]["line"] - 1]


async def test_what_is_in_doubt_here_names_its_command(bed: Bed) -> None:
    """With the receipt, where everything else agrees; else the gateway is asked."""
    statement = await bed.paid()
    doubtful = await bed.worker.submitting("d-1")
    await bed.worker.answered(doubtful, State.IN_DOUBT, LOST)
    taken = await bed.worker.submitting("d-2")
    await bed.worker.answered(taken, State.ACCEPTED, LOST)
    paid = [
        Entry(
            receipt=f"R{one.payout_id}",
            amount="12.50",
            at=datetime.now(UTC),
            details=f"Original conversation ID is {one.originator_conversation_id}",
        )
        for one in (doubtful, taken)
    ]
    ran = await bed.reconcile(statement.plus(*paid))
    assert ran.status == 3
    assert "payouts resolve d-1 --paid Rd-1 --evidence 'statement, line" in ran.out
    assert "payouts reconcile d-2 --reason 'statement, line" in ran.out
    assert await bed.differences(statement.plus(*paid)) == [
        ("paid there, open here", "d-2"),
        ("paid there, open here", "d-1"),
    ]
    wrong = await bed.reconcile(statement.plus(*paid).changed("Rd-1", amount="13.50"))
    assert "resolve d-1" not in wrong.out
    # Without its id in the details it can only be guessed; a person is told whom to look at.
    known = {"details": "Business Payment", "party": "254712345678 - JUMA"}
    guessed = await bed.reconcile(statement.plus(*paid).changed("Rd-1", **known))
    assert "perhaps d-1, in doubt" in guessed.out


async def test_what_failed_here_and_was_paid_there_is_shouted(bed: Bed) -> None:
    """And so is a payout that was paid twice, under two receipts."""
    statement = await bed.paid()
    refused = await bed.worker.submitting("f-1")
    await bed.worker.ended(refused, fails=True)
    now = datetime.now(UTC)
    ids = [
        f"Original conversation ID is {one}"
        for one in (refused.originator_conversation_id, "600000_ORG_p-2")
    ]
    planted = statement.plus(
        Entry(receipt="RFAIL1", amount="12.50", at=now, details=ids[0]),
        Entry(receipt="RAGAIN", amount="1002.50", at=now + timedelta(seconds=5), details=ids[1]),
    )
    ran = await bed.reconcile(planted)
    assert ran.status == 3
    for shout in ("paid there, failed here: 1 payment", "paid twice there: 1 payment"):
        assert shout in ran.err
    found = await bed.differences(planted)
    # The newest line comes first and is taken for the payment, so its receipt is the other one.
    assert sorted(found) == [
        ("different receipt", "p-2"),
        ("paid there, failed here", "f-1"),
        ("paid twice there", "p-2"),
    ]


async def test_a_reversal_is_a_difference(bed: Bed) -> None:
    """The money came back; the books say that it was paid."""
    statement = await bed.paid()
    reversal = Entry(
        receipt="RBACK",
        reason="Payment Reversal",
        linked="Rp-5",
        amount="1005.50",
        paid_in=True,
        at=datetime.now(UTC),
    )
    assert await bed.differences(statement.plus(reversal)) == [("reversed there", "p-5")]


async def test_lines_that_stand_there_twice_count_once(bed: Bed) -> None:
    """Two exports that overlap, put into one file, change no sum."""
    statement = await bed.paid()
    twice = statement.plus(*statement.entries)
    ran = await bed.reconcile(twice, "--json")
    assert ran.status == 0
    assert ran.json["paid_there"] == COUNT
    kinds = {one["kind"]: one["count"] for one in ran.json["kinds"]}
    assert (kinds["matched"], kinds["line repeated"]) == (COUNT, COUNT)


async def test_one_receipt_for_two_payouts_is_a_difference(
    bed: Bed, connection: asyncpg.Connection
) -> None:
    """Somebody has settled a doubt by a receipt that is another payout's."""
    statement = (await bed.paid()).without("Rp-8")
    for number in range(COUNT):
        statement = statement.changed(f"Rp-{number}", details="Business Payment")
    await connection.execute("ALTER TABLE payouts DISABLE TRIGGER ALL")
    await connection.execute("UPDATE payouts SET transaction_id = 'Rp-7' WHERE payout_id = 'p-8'")
    assert await bed.differences(statement) == [("one receipt for several payouts here", "p-8")]


async def test_only_what_lies_certainly_within_the_window_can_be_missing(bed: Bed) -> None:
    """Sent before it or ended after it, a payout may have been paid outside; open is no proof."""
    statement = await bed.paid()
    open_one = await bed.worker.submitting("open-1")
    await bed.worker.answered(open_one, State.ACCEPTED, LOST)
    ends = [entry for entry in statement.entries if entry.receipt in {"RDEPOSIT1", "RSETTLE1"}]
    whole = await bed.reconcile(Statement(entries=tuple(ends)), "--json")
    kinds = {one["kind"]: one["count"] for one in whole.json["kinds"]}
    assert (kinds["missing there"], kinds["open here, not there"]) == (COUNT, 1)
    middle = statement.entries[0].at
    short = await bed.reconcile(
        Statement(entries=tuple(ends)), "--json", "--since", middle.isoformat()
    )
    kinds = {one["kind"]: one["count"] for one in short.json["kinds"]}
    assert kinds["missing there"] == COUNT - 1
    assert short.json["since"][:19] == middle.isoformat()[:19]
    before = (bed.began - timedelta(days=1)).isoformat()
    none = await bed.reconcile(Statement(entries=tuple(ends)), "--json", "--until", before)
    assert none.status == 0


async def test_a_list_is_cut_and_the_file_has_all(bed: Bed) -> None:
    """--limit bounds what is printed; --out writes every line, and never over a file."""
    statement = await bed.paid()
    for number in range(COUNT):
        statement = statement.changed(f"Rp-{number}", amount="1.00")
    ran = await bed.reconcile(statement, "--limit", "2", "--out", str(bed.out))
    assert f"and {COUNT - 2} differences more" in ran.out
    with bed.out.open(newline="") as file:
        assert sum(row["kind"] == "different amount" for row in csv.DictReader(file)) == COUNT
    again = await bed.reconcile(statement, "--out", str(bed.out))
    assert again.status == 2
    assert "is there already" in again.err


async def test_lines_that_cannot_be_read_are_differences(bed: Bed) -> None:
    """Nobody may call equal what was not read; a formula from the file stays a text."""
    statement = await bed.paid()
    planted = statement.changed("Rp-1", receipt="=1+1").plus(
        Entry(receipt="-RPLUS", amount="3.00", at=datetime.now(UTC))
    )
    ran = await bed.reconcile(planted, "--json", "--out", str(bed.out))
    assert ran.status == 3
    kinds = {one["kind"]: one["count"] for one in ran.json["kinds"] if one["difference"]}
    assert kinds == {"unreadable line": 1, "missing there": 1, "missing here": 1}
    assert "'-RPLUS" in bed.out.read_text()


async def test_a_statement_of_another_layout_is_read_by_a_setting(bed: Bed) -> None:
    """Columns, the wording of payments and local time are settings."""
    await bed.paid()
    bed.file.write_text(
        "Ref;Date;Value;Kind\n"
        + "".join(
            f"Rp-{n};{datetime.now(UTC).isoformat()};{1000 + n}.50;out\n" for n in range(COUNT)
        )
        + f"RXTRA;{datetime.now(UTC).isoformat()};5.00;disbursement\n"
    )
    environ = {
        **bed.environ,
        "PAYOUTS_STATEMENT_COLUMNS": "receipt=Ref, completed=Date, amount=Value, details=Kind",
        "PAYOUTS_STATEMENT_PAYMENTS": "disbursement",
    }
    ran = await payouts("reconcile", str(bed.file), "--json", environ=environ)
    assert [(one["kind"], one["receipt"]) for one in ran.json["differences"]] == [
        ("missing here", "RXTRA")
    ]


async def test_an_empty_statement_needs_to_be_told_its_time(bed: Bed) -> None:
    """Without a line there is no window; with one said, everything here is missing there."""
    await bed.paid()
    ran = await bed.reconcile(Statement(entries=()))
    assert ran.status == 2
    assert "--since and --until" in ran.err
    told = await bed.reconcile(Statement(entries=()), "--json", "--since", "1h", "--until", "0s")
    assert told.json["difference_count"] == COUNT


async def test_of_several_accounts_the_statements_is_named(bed: Bed, tmp_path: Path) -> None:
    """A payout of another account in it is a difference, and its own are not missed."""
    statement = await bed.paid()
    accounts = tmp_path / "accounts.toml"
    accounts.write_text("[default]\n[other]\n")
    several = {"PAYOUTS_ACCOUNTS_FILE": str(accounts)}
    unnamed = await bed.reconcile(statement, **several)
    assert unnamed.status == 2
    assert "known: default, other" in unnamed.err
    unknown = await bed.reconcile(statement, "--account", "third", **several)
    assert "No account third" in unknown.err
    assert (await bed.reconcile(statement, "--account", "default", **several)).status == 0
    ran = await bed.reconcile(statement, "--json", "--account", "other", **several)
    assert {one["kind"] for one in ran.json["differences"]} == {"different account"}
    assert ran.json["succeeded_here"] == 0


async def test_a_send_that_failed_before_another_paid_is_no_difference(bed: Bed) -> None:
    """It has a receipt of its own; only the payment's own line can contradict the books."""
    statement = await bed.paid()
    earlier = Entry(
        receipt="REARLIER",
        amount="1003.50",
        at=datetime.now(UTC),
        status="Failed",
        details="Original conversation ID is 600000_ORG_p-3",
    )
    assert await bed.differences(statement.plus(earlier)) == []
