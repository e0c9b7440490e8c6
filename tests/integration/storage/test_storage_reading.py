"""Operators read stories, lists and totals that belong to one instant."""

from dataclasses import replace

import pytest
from storage_bed import (
    ACCOUNT,
    NOW,
    RUN,
    Bed,
    completion,
    move,
    names,
    own_id,
    payout,
    received,
    seconds,
)

from payouts.domain.errors import SchemaError
from payouts.domain.payout import OPEN, Payout, State
from payouts.domain.values import AccountName, OriginatorConversationId, PayoutId, RunId
from payouts.ports import Incident, IncidentKind, Query
from payouts.storage.engine import create_engine
from payouts.storage.reading import Listing, PayoutsReader
from payouts.storage.totals import PaidEntry


@pytest.fixture
def reader(bed: Bed) -> PayoutsReader:
    """Give a reader on the store's database."""
    return PayoutsReader(bed.store.database.engine)


async def test_a_payouts_story_is_told_in_its_order(bed: Bed, reader: PayoutsReader) -> None:
    """Each entry says when, who, what, from where to where, and which ids."""
    await bed.accepted("a")
    query = Query(
        query_id=OriginatorConversationId("q1"), payout_id=PayoutId("a"), asked_at=NOW + seconds(9)
    )
    await bed.store.mark_overdue(now=NOW + seconds(60), limit=9, actor="sweep")
    await bed.store.record_query(query, next_action_at=NOW + seconds(90), actor="worker 1")
    await bed.store.complete(completion("a"))

    story = await reader.timeline(PayoutId("a"))

    assert [(one.kind, one.from_state, one.to_state) for one in story] == [
        ("intent", None, State.SUBMITTING),
        ("answer", State.SUBMITTING, State.ACCEPTED),
        ("overdue", State.ACCEPTED, State.IN_DOUBT),
        ("query", None, None),
        ("result", State.IN_DOUBT, State.SUCCEEDED),
    ]
    assert story[3].originator_conversation_id == "q1"
    assert story[4].transaction_id == "SKUa"
    assert await reader.queries(PayoutId("a")) == [query]
    assert [one.type for one in await reader.events(PayoutId("a"))] == ["payout.succeeded"]
    assert await reader.payout(PayoutId("a")) == await bed.standing("a")


async def test_nothing_is_told_of_what_is_not_there(bed: Bed, reader: PayoutsReader) -> None:
    """An unknown payout or run is None or empty, no error."""
    assert await reader.payout(PayoutId("a")) is None
    assert await reader.timeline(PayoutId("a")) == []
    assert await reader.events(PayoutId("a")) == []
    assert await reader.run_summary(RunId("none")) is None
    assert (await reader.books(RunId("none"))).balanced


async def test_existing_tells_which_of_many_there_are(bed: Bed, reader: PayoutsReader) -> None:
    """One look for a whole file's worth of ids."""
    for name in ("a", "b"):
        await bed.intend(payout(name))

    found = await reader.existing([PayoutId(name) for name in ("a", "b", "c")])

    assert found == {name: await bed.standing(name) for name in ("a", "b")}


async def test_incidents_are_read_by_payout_or_all(bed: Bed, reader: PayoutsReader) -> None:
    """Newest first where they are many; evidence included, for whoever may see it."""
    incident = Incident(
        kind=IncidentKind.STUCK, at=NOW, payout_id=PayoutId("a"), evidence={"k": "v"}
    )
    unmatched = replace(incident, kind=IncidentKind.UNMATCHED, at=NOW + seconds(1), payout_id=None)
    for one in (incident, unmatched):
        await bed.store.record_incident(one)

    assert await reader.incidents(PayoutId("a")) == [incident]
    assert await reader.incidents() == [unmatched, incident]
    assert (await reader.incidents())[0].evidence == {"k": "v"}


async def ids(reader: PayoutsReader, listing: Listing) -> list[str]:
    return [one.payout_id for one in await reader.list_payouts(listing)]


async def test_lists_are_limited_by_what_is_asked(bed: Bed, reader: PayoutsReader) -> None:
    """State, run, account and age, alone and together; newest first."""
    await bed.intend(received("old", created_at=NOW - seconds(60)))
    await bed.intend(received("other", account=AccountName("other"), run_id=RunId("r2")))
    await bed.succeeded("done")

    assert await ids(reader, Listing()) == ["other", "done", "old"]
    assert await ids(reader, Listing(states=OPEN)) == ["other", "old"]
    assert await ids(reader, Listing(states={State.SUCCEEDED})) == ["done"]
    assert await ids(reader, Listing(run_id=RUN)) == ["done", "old"]
    assert await ids(reader, Listing(account=AccountName("other"))) == ["other"]
    assert await ids(reader, Listing(older_than=NOW)) == ["old"]
    assert await ids(reader, Listing(newer_than=NOW)) == ["other", "done"]
    everything = Listing(
        states=OPEN, run_id=RUN, account=ACCOUNT, older_than=NOW, newer_than=NOW - seconds(60)
    )
    assert await ids(reader, everything) == ["old"]


async def test_pages_follow_each_other_without_gap_or_repeat(
    bed: Bed, reader: PayoutsReader
) -> None:
    """Also where many payouts were made at the same instant."""
    for number, name in enumerate(names("p", 11)):
        await bed.intend(received(name, created_at=NOW + seconds(number // 4)))

    seen: list[str] = []
    last: Payout | None = None
    while page := await reader.list_payouts(Listing(limit=3, after=last)):
        seen += [one.payout_id for one in page]
        last = page[-1]

    assert seen == [
        *("p-0010", "p-0009", "p-0008"),
        *("p-0007", "p-0006", "p-0005", "p-0004"),
        *("p-0003", "p-0002", "p-0001", "p-0000"),
    ]


async def test_a_run_is_summed_up_by_state_and_reason(bed: Bed, reader: PayoutsReader) -> None:
    """Counts, sums, first and last times, and how fast it ends."""
    await bed.succeeded("a")
    await bed.accepted("b")
    await bed.intend(payout("c"))
    await bed.store.move(move("c", State.FAILED))
    await bed.intend(received("x", run_id=None))

    summary = await reader.run_summary(RUN)

    assert summary is not None
    assert [(one.state, one.count, one.amount_minor) for one in summary.states] == [
        (State.ACCEPTED, 1, 125_050),
        (State.SUCCEEDED, 1, 125_050),
        (State.FAILED, 1, 125_050),
    ]
    assert {(one.state, one.klass, one.code, one.count) for one in summary.reasons} == {
        (State.ACCEPTED, "accepted", "0", 1),
        (State.SUCCEEDED, "completed", "0", 1),
        (State.FAILED, "refused-final", "17", 1),
    }
    assert (summary.first_created_at, summary.last_completed_at) == (NOW, NOW + seconds(5))
    assert summary.ended_per_s >= 0


async def test_the_gauges_show_what_is_open_and_waits(bed: Bed) -> None:
    """Counts and sums of open payouts by account and state, and what else needs an eye."""
    await bed.succeeded("a")
    await bed.accepted("b")
    await bed.in_doubt("c")
    await bed.store.record_balance(ACCOUNT, minor=700, at=NOW)
    await bed.store.record_incident(Incident(kind=IncidentKind.STUCK, at=NOW))
    await bed.fetch("INSERT INTO accounts (name, pace) VALUES ('slowed', 12.5)")

    figures = await bed.store.figures()

    assert figures.open_count == {("default", "accepted"): 1, ("default", "in_doubt"): 1}
    assert figures.open_minor[("default", "in_doubt")] == 125_050
    assert set(figures.oldest_doubt_s) == {("default",)}
    assert (figures.unpublished, figures.incidents) == (1, {("stuck",): 1})
    assert figures.balances_minor == {("default",): 700}
    assert figures.paces == {("slowed",): 12.5}


async def test_the_books_balance_in_count_and_money(bed: Bed, reader: PayoutsReader) -> None:
    """Received is succeeded, failed and open, by currency; each end has its one event."""
    await bed.succeeded("a")
    await bed.accepted("b")
    await bed.intend(payout("c", currency="TZS", amount_minor=7, run_id=RunId("r2")))
    await bed.store.move(move("c", State.FAILED))

    books = await reader.books()

    assert books.balanced
    assert books.received == {"KES": (2, 250_100), "TZS": (1, 7)}
    assert (books.intents, books.endings, books.unpublished) == (3, 2, 2)
    run = await reader.books(RUN)
    assert run.balanced
    assert (run.received, run.endings) == ({"KES": (2, 250_100)}, 1)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("DELETE FROM events", "1 ended payouts without their event"),
        ("UPDATE events SET type = 'payout.failed'", "1 completion events without that end"),
        ("DELETE FROM timeline WHERE kind = 'intent'", "0 intents for 1 payouts"),
        ("DELETE FROM timeline WHERE kind = 'result'", "0 endings for 1 ended payouts"),
        ("UPDATE payouts SET state = 'failed'", "1 ended payouts without their event"),
        ("DELETE FROM payouts", "1 completion events without that end"),
    ],
)
async def test_books_that_were_tampered_with_do_not_balance(
    bed: Bed, reader: PayoutsReader, harm: str, said: str
) -> None:
    """What somebody changed behind the guards is found out."""
    await bed.succeeded("a")
    await tamper(bed, harm)

    books = await reader.books()

    assert not books.balanced
    assert said in books.problems


async def tamper(bed: Bed, harm: str) -> None:
    """Change the books as only somebody who switches the guards off can."""
    async with bed.store.database.engine.connect() as connection:
        for statement in ("SET session_replication_role = 'replica'", harm):
            await connection.exec_driver_sql(statement)
        await connection.exec_driver_sql("SET session_replication_role = 'origin'")


async def test_what_was_paid_is_told_entry_by_entry(bed: Bed, reader: PayoutsReader) -> None:
    """For comparison with the other side's ledger; of one run or of all."""
    for name in ("a", "b"):
        await bed.succeeded(name)
    await bed.accepted("open")
    entry = PaidEntry(
        originator_conversation_id=own_id("a"), transaction_id="SKUa", amount_minor=125_050
    )

    found = [one async for one in reader.paid_entries()]

    assert len(found) == 2
    assert entry in found
    assert [one async for one in reader.paid_entries(RunId("none"))] == []


async def test_what_was_paid_is_streamed_within_bounded_memory(
    bed: Bed, reader: PayoutsReader
) -> None:
    """More entries than a page come all, and leaving early leaves no connection behind."""
    await bed.fetch(
        "INSERT INTO payouts (payout_id, account, amount_minor, currency, msisdn, command_id,"
        " originator_conversation_id, state, came_from, created_at, completed_at)"
        " SELECT n, 'default', 1, 'KES', '254', 'x', 'o' || n, 'succeeded', 'accepted', now(),"
        " now() FROM generate_series(1, 2500) n"
    )

    assert len([one async for one in reader.paid_entries()]) == 2500
    entries = reader.paid_entries()
    assert (await anext(entries)).amount_minor == 1
    await entries.aclose()
    assert bed.store.database.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


async def test_a_database_without_the_tables_is_told_as_such(empty_database_url: str) -> None:
    """The operator hears what to do next."""
    engine = create_engine(empty_database_url)
    try:
        with pytest.raises(SchemaError, match="payouts db upgrade"):
            await PayoutsReader(engine).payout(PayoutId("a"))
        with pytest.raises(SchemaError, match="payouts db upgrade"):
            await PayoutsReader(engine).books()
    finally:
        await engine.dispose()
