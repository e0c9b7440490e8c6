"""All workers of an account know alike whether it may pay, and who of them lives."""

import asyncio

from storage_bed import ACCOUNT, NOW, Bed, seconds

from payouts.domain.values import AccountName
from payouts.ports import AccountStatus

OTHER = AccountName("other")


async def refuse(bed: Bed, second: float, name: AccountName = ACCOUNT) -> AccountStatus:
    return await bed.store.count_refusal(
        name, limit=3, reason="the initiator is locked", at=NOW + seconds(second)
    )


async def test_accounts_that_were_not_seen_before_are_open(bed: Bed) -> None:
    """They are added, unpaused; those that exist are told as they stand."""
    await bed.store.set_paused(OTHER, paused=True, reason="holiday", at=NOW)

    found = await bed.store.account_statuses([ACCOUNT, OTHER])

    assert found == {
        ACCOUNT: AccountStatus(name=ACCOUNT),
        OTHER: AccountStatus(name=OTHER, paused=True, paused_reason="holiday"),
    }
    assert await bed.count("accounts") == 2


async def test_the_third_refusal_in_a_row_pauses_the_account(bed: Bed) -> None:
    """Not the second, also over several workers."""
    statuses = [await refuse(bed, second) for second in range(4)]

    assert [(one.refusals, one.paused) for one in statuses] == [
        (1, False),
        (2, False),
        (3, True),
        (4, True),
    ]
    assert statuses[-1].paused_reason == "the initiator is locked"
    rows = await bed.fetch("SELECT paused_at FROM accounts")
    assert rows[0][0] == NOW + seconds(2)


async def test_the_same_refusal_again_is_one(bed: Bed) -> None:
    """A refusal that is told again after an unheard commit counts once.

    Proved by taking the instant out of the statement.
    """
    statuses = [await refuse(bed, 1) for _ in range(5)]

    assert {(one.refusals, one.paused) for one in statuses} == {(1, False)}


async def test_one_refusal_is_enough_where_the_limit_is_one(bed: Bed) -> None:
    """Also for an account that was not seen before."""
    status = await bed.store.count_refusal(OTHER, limit=1, reason="locked", at=NOW)

    assert status.paused


async def test_a_success_in_between_begins_the_count_anew(bed: Bed) -> None:
    """Only refusals in a row are counted."""
    await refuse(bed, 1)
    await refuse(bed, 2)
    await bed.store.clear_refusals(ACCOUNT)

    assert (await refuse(bed, 3)).refusals == 1


async def test_a_late_success_does_not_resume_an_account(bed: Bed) -> None:
    """What is paused stays so until a person resumes it, which forgets the refusals."""
    for second in range(3):
        await refuse(bed, second)
    await bed.store.clear_refusals(ACCOUNT)
    assert (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT].refusals == 3

    status = await bed.store.set_paused(ACCOUNT, paused=False, reason="unlocked", at=NOW)

    assert (status.paused, status.refusals) == (False, 0)


async def test_refusals_of_many_workers_are_all_counted(bed: Bed, other: Bed) -> None:
    """None is lost to another one at the same time."""
    await asyncio.gather(
        *(refuse(one, n + offset) for n in range(20) for one, offset in ((bed, 0), (other, 0.5)))
    )

    assert (await bed.store.account_statuses([ACCOUNT]))[ACCOUNT].refusals == 40


async def test_the_latest_balance_is_kept(bed: Bed) -> None:
    """A balance that was heard earlier and is written later changes nothing."""
    await bed.store.record_balance(ACCOUNT, minor=500, at=NOW + seconds(2))
    await bed.store.record_balance(ACCOUNT, minor=900, at=NOW + seconds(1))

    found = await bed.store.account_statuses([ACCOUNT])

    assert found[ACCOUNT].utility_balance_minor == 500


async def test_every_worker_has_a_number_of_its_own(bed: Bed, other: Bed) -> None:
    """Numbers are never given twice, also not to workers of the same name."""
    owners = await asyncio.gather(*(one.store.enlist("host:1") for one in (bed, other) * 10))

    assert len(set(owners)) == 20


async def test_a_worker_that_retired_is_not_heard_any_more(bed: Bed) -> None:
    """Retiring twice is no error; an unknown worker is dead."""
    owner = await bed.store.enlist("host:1")
    assert (await bed.store.beat(owner)).alive

    await bed.store.retire(owner)
    await bed.store.retire(owner)

    assert not (await bed.store.beat(owner)).alive
