"""Two books are compared payment by payment; every way to differ is found."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.cli.comparison import Comparing, Comparison, Kind, payout_id_of
from ops.cli.exits import CommandError, UsageError
from ops.cli.ledger import Paid, read_ledger
from ops.cli.verifying import comparison_record
from payouts.domain.commands import AccountRules, payout_of, validate
from payouts.domain.payout import Payout, State
from payouts.domain.values import AccountName, PayoutId, RunId, TransactionId

RULES = AccountRules(name=AccountName("default"), shortcode="600000", organisation="ORG")
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def paid(payout_id: str, minor: int = 1000, receipt: str | None = "R1") -> Paid:
    """Gives a line of a ledger."""
    return Paid(
        originator_conversation_id=f"600000_ORG_{payout_id}", amount_minor=minor, receipt=receipt
    )


def payout(payout_id: str, state: State, run_id: str | None = None) -> Payout:
    """Gives a payout of 10.00 in a state."""
    fields = {"payout_id": payout_id, "msisdn": "0712345678", "amount": "10"}
    made = payout_of(validate(fields, RULES), RULES, state=state, now=NOW)
    return replace(
        made, run_id=RunId(run_id) if run_id else None, transaction_id=TransactionId("R1")
    )


async def compare(
    ours: Iterable[Paid],
    theirs: Iterable[Paid],
    *payouts: Payout,
    run_id: str | None = None,
    limit: int = 10,
) -> Comparison:
    """Gives what comes of comparing."""

    async def each(entries: Iterable[Paid]) -> AsyncIterator[Paid]:
        for entry in entries:
            yield entry

    async def existing(ids: Sequence[PayoutId]) -> Mapping[PayoutId, Payout]:
        return {one.payout_id: one for one in payouts if one.payout_id in ids}

    with Comparing(run_id=RunId(run_id) if run_id else None, limit=limit) as comparing:
        return await comparing.run(each(ours), each(theirs), existing)


def kinds(outcome: Comparison) -> list[Kind]:
    """Gives the kinds of all differences."""
    return [one.kind for one in outcome.differences]


async def test_equal_books_do_not_differ() -> None:
    """Counts and sums of both sides are told."""
    outcome = await compare([paid("a"), paid("b", 5)], [paid("b", 5), paid("a")])
    assert outcome.difference_count == 0
    assert (outcome.ours, outcome.our_minor, outcome.theirs, outcome.their_minor) == (
        2,
        1005,
        2,
        1005,
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "kind"),
    [
        ([paid("a")], [paid("a"), paid("a")], Kind.TWICE),
        ([paid("a")], [], Kind.NOT_PAID),
        ([paid("a")], [paid("a", 1001)], Kind.OTHER_AMOUNT),
        ([paid("a")], [paid("a", receipt="R2")], Kind.OTHER_RECEIPT),
        ([], [paid("a")], Kind.UNKNOWN_HERE),
    ],
)
async def test_each_difference_is_found(ours: list[Paid], theirs: list[Paid], kind: Kind) -> None:
    """One difference of its kind, no other."""
    assert kinds(await compare(ours, theirs)) == [kind]


async def test_what_they_paid_and_we_call_failed_is_found() -> None:
    """The worst: a second payout would pay twice."""
    outcome = await compare([], [paid("a")], payout("a", State.FAILED))
    assert kinds(outcome) == [Kind.FAILED_HERE]


async def test_what_has_not_ended_here_is_listed_and_no_difference() -> None:
    """A Result is still to come."""
    outcome = await compare([], [paid("a")], payout("a", State.IN_DOUBT))
    assert (outcome.difference_count, outcome.open_count, outcome.open_minor) == (0, 1, 1000)
    assert outcome.open_here[0].detail == "in_doubt"


async def test_two_payments_of_an_open_payout_are_paid_twice() -> None:
    """Also before it has ended here."""
    outcome = await compare([], [paid("a"), paid("a")], payout("a", State.ACCEPTED))
    assert kinds(outcome) == [Kind.TWICE]


async def test_what_succeeds_while_the_ledger_is_read_is_no_difference() -> None:
    """It is looked up again; proved by leaving that out."""
    outcome = await compare([], [paid("a")], payout("a", State.SUCCEEDED))
    assert (outcome.difference_count, outcome.ours, outcome.theirs) == (0, 1, 1)


async def test_an_id_of_another_organisation_is_not_taken_for_ours() -> None:
    """The whole id must agree, not just the payout's part of it."""
    other = Paid(originator_conversation_id="600000_OTHER_a", amount_minor=1000, receipt=None)
    assert kinds(await compare([], [other], payout("a", State.SUCCEEDED))) == [Kind.UNKNOWN_HERE]


async def test_a_run_is_compared_alone() -> None:
    """What they paid for other runs, or for nobody we know, is not looked at."""
    outcome = await compare(
        [paid("a")],
        [paid("a"), paid("b"), paid("c"), paid("d")],
        payout("b", State.SUCCEEDED, "other"),
        payout("d", State.FAILED, "mine"),
        run_id="mine",
    )
    assert kinds(outcome) == [Kind.FAILED_HERE]
    assert outcome.theirs == 2


async def test_differences_are_listed_to_a_bound_and_all_counted() -> None:
    """A wrong ledger does not fill the screen."""
    outcome = await compare([paid(f"p{n}") for n in range(30)], [], limit=3)
    assert (len(outcome.differences), outcome.difference_count) == (3, 30)
    told = comparison_record(outcome)
    assert told is not None
    assert told["difference_count"] == 30


async def test_a_missing_receipt_is_no_difference() -> None:
    """A query may tell that it was paid without telling the receipt."""
    assert (await compare([paid("a", receipt=None)], [paid("a")])).difference_count == 0


@pytest.mark.parametrize(
    ("own_id", "payout_id"),
    [("600000_ORG_a_b", "a_b"), ("600000_ORG_a", "a"), ("600000", None), ("600000_ORG_", None)],
)
def test_the_payout_id_is_what_follows_the_organisation(own_id: str, payout_id: str | None) -> None:
    """A payout id may hold underscores itself."""
    assert payout_id_of(own_id) == payout_id


async def ledger(path: Path) -> list[Paid]:
    """Gives all lines of a statement."""
    return [line async for line in read_ledger(str(path))]


async def test_a_statement_may_be_json_lines_or_csv(tmp_path: Path) -> None:
    """Both tell the same; further columns are ignored."""
    fields = {
        "originator_conversation_id": "600000_ORG_a",
        "amount": "10.00",
        "receipt": "R1",
        "msisdn": "254712345678",
    }
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.csv"
    lines.write_text(json.dumps(fields) + "\n")
    table.write_text(",".join(fields) + "\n" + ",".join(fields.values()) + "\n")
    assert await ledger(lines) == await ledger(table) == [paid("a")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"amount": "1"}\n', "line 1: originator_conversation_id is missing"),
        ('{"a": 1}\nnot json\n', "line 1"),
        ("originator_conversation_id,amount\nx,1e5\n", "line 2: the amount is not a decimal"),
        (b"originator_conversation_id,amount\n\xff,1\n", "neither JSON lines nor CSV"),
    ],
)
async def test_what_is_wrong_with_a_statement_is_told(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    """With its line."""
    path = tmp_path / "statement"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CommandError, match=said):
        await ledger(path)


async def test_a_statement_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(UsageError, match="cannot be read"):
        await ledger(tmp_path / "nothing")


async def test_a_ledger_that_cannot_be_reached_is_told() -> None:
    """It says whom it asked."""
    with pytest.raises(CommandError, match="is the simulator up"):
        [line async for line in read_ledger("http://127.0.0.1:9")]
