"""Events wait in the outbox until the broker has them, each with its one id and content."""

import asyncio

from storage_bed import NOW, RECEIVER, Bed, completion, names, open_bed, payout, seconds

from payouts.domain.events import event_of

ALL = NOW + seconds(3600)
UNTIL = NOW + seconds(60)


async def test_a_claimed_event_is_the_one_that_the_end_gave(bed: Bed) -> None:
    """It is derived from the ended payout again, to the last value."""
    outcome = await bed.succeeded("a")

    assert await bed.store.claim_unpublished(older_than=ALL, until=UNTIL, limit=10) == [
        outcome.event
    ]
    assert outcome.payout is not None
    assert outcome.event == event_of(outcome.payout)


async def test_receivers_are_masked_unless_the_setting_says_otherwise(books_url: str) -> None:
    """The setting holds for events at once and for those that are claimed."""
    for shown in (False, True):
        async with open_bed(books_url, show_msisdn=shown) as bed:
            outcome = await bed.succeeded(f"shown-{shown}")
            (claimed,) = await bed.store.claim_unpublished(older_than=ALL, until=ALL, limit=10)
        assert outcome.event is not None
        assert claimed == outcome.event
        assert (claimed.data["msisdn"] == RECEIVER) is shown


async def test_a_claimed_event_is_hidden_from_other_relays_for_a_while(bed: Bed) -> None:
    """After that it is anybody's again, until it is published.

    Proved by taking `hidden_until` out of the statement.
    """
    await bed.succeeded("a")
    claim = bed.store.claim_unpublished

    (event,) = await claim(older_than=ALL, until=UNTIL, limit=10)
    assert await claim(older_than=ALL, until=UNTIL, limit=10) == []
    bed.clock.instant = UNTIL
    assert await claim(older_than=ALL, until=UNTIL + seconds(9), limit=10) == [event]

    await bed.store.mark_published(event.event_id)
    bed.clock.instant = ALL
    assert await claim(older_than=ALL, until=ALL, limit=10) == []


async def test_what_nobody_has_tried_comes_before_what_no_queue_took(bed: Bed) -> None:
    """However many events are tried again and again, a newer one that was overlooked is not late.

    Proved by taking the oldest first: the same old ones were claimed each time, the new one never.
    """
    claim = bed.store.claim_unpublished
    for name in names("old", 6):
        await bed.succeeded(name)
    tried = [await claim(older_than=ALL, until=UNTIL, limit=2) for _ in range(3)]
    assert [len(batch) for batch in tried] == [2, 2, 2]
    await bed.succeeded("new")

    bed.clock.instant = UNTIL
    claimed = await claim(older_than=ALL, until=UNTIL + seconds(60), limit=2)

    # Events of one instant are told in any order.
    (new, old) = sorted(event.subject for event in claimed)
    assert new == "new"
    assert old.startswith("old-")
    again = [
        event.subject
        for _ in range(3)
        for event in await claim(older_than=ALL, until=UNTIL + seconds(60), limit=2)
    ]
    assert sorted([old, *again]) == names("old", 6)


async def test_young_events_are_left_to_whoever_wrote_them(bed: Bed) -> None:
    """The relay takes only what has waited."""
    await bed.succeeded("a")

    claim = bed.store.claim_unpublished
    assert await claim(older_than=NOW + seconds(5), until=UNTIL, limit=10) == []
    assert len(await claim(older_than=NOW + seconds(6), until=UNTIL, limit=10)) == 1


async def test_relays_share_the_outbox(bed: Bed, other: Bed) -> None:
    """No event is with two relays at the same time, and the oldest go first.

    Proved by taking the lock out of the statement.
    """
    wanted = names("p", 100)
    await asyncio.gather(*(bed.intend(payout(name)) for name in wanted))
    for number, name in enumerate(wanted):
        await bed.store.complete(completion(name, at=NOW + seconds(number)))

    first = await bed.store.claim_unpublished(older_than=ALL, until=UNTIL, limit=10)
    batches = await asyncio.gather(
        *(
            one.store.claim_unpublished(older_than=ALL, until=UNTIL, limit=10)
            for one in (bed, other) * 6
        )
    )

    assert [event.subject for event in first] == wanted[:10]
    taken = [event.event_id for batch in (first, *batches) for event in batch]
    assert len(taken) == len(set(taken))


async def test_published_is_written_once(bed: Bed) -> None:
    """The first confirmation counts; an event that nobody knows is no error."""
    outcome = await bed.succeeded("a")
    assert outcome.event is not None
    await bed.store.mark_published(outcome.event.event_id)
    bed.clock.instant = ALL

    await bed.store.mark_published(outcome.event.event_id)
    await bed.store.mark_published("00000000-0000-0000-0000-000000000000")

    rows = await bed.fetch("SELECT published_at FROM events")
    assert [row[0] for row in rows] == [NOW]
