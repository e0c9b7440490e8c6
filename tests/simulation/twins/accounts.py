"""The twin's workers, accounts and suspects, as payouts/storage keeps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from payouts.domain.payout import State
from payouts.domain.values import AccountName, WorkerId
from payouts.ports import AccountStatus, Exposure, Heartbeat
from tests.simulation.twins.books import Statement
from tests.simulation.twins.rows import AccountRow, WorkerRow
from tests.simulation.twins.session import Session
from tests.simulation.twins.sweeps import standing_in

UNTIL = "new ones until"
_ON_THE_WAY = (State.SUBMITTING, State.ACCEPTED, State.IN_DOUBT)


class Workers(Session):
    """Enlists workers, hears them, lets them go: by the database's clock."""

    async def enlist(self, name: str, *, accounts: Sequence[AccountName] = ()) -> WorkerId:
        """Return a number that no other worker has had or will have."""

        def work(st: Statement) -> WorkerId:
            number = WorkerId(max(st.tables.workers, default=0) + 1)
            st.worker(WorkerRow(number, name, self._far.now(), tuple(accounts)))
            return number

        return await self._call("enlist", work)

    async def beat(self, owner: WorkerId, *, cut_off: Sequence[AccountName] = ()) -> Heartbeat:
        """Tell that the worker lives; one that was declared dead stays so."""

        def work(st: Statement) -> Heartbeat:
            worker = st.tables.workers.get(owner)
            if worker is None or worker.retired:
                return Heartbeat(alive=False)
            if worker.dead and "dead stay dead" not in st.without:
                return Heartbeat(alive=False)
            now = self._far.now()
            st.worker(worker._replace(heartbeat_at=now, cut_off=tuple(cut_off), dead=False))
            return Heartbeat(alive=True)

        return await self._call("beat", work)

    async def retire(self, owner: WorkerId) -> None:
        """Take the number back; what is still `submitting` under it is swept at once."""

        def work(st: Statement) -> None:
            worker = st.tables.workers.get(owner)
            if worker is not None and not worker.retired:
                st.worker(worker._replace(retired=True))

        await self._call("retire", work)


class Accounts(Session):
    """Keeps what all workers of an account have to know of it."""

    async def account_statuses(
        self, names: Sequence[AccountName]
    ) -> Mapping[AccountName, AccountStatus]:
        """Return each account's status; accounts not seen before are added, unpaused."""

        def work(st: Statement) -> dict[AccountName, AccountStatus]:
            rows: dict[AccountName, AccountRow] = {}
            for name in names:
                row = st.tables.accounts.get(name) or rows.get(name)
                if row is None:
                    row = self._added(st, name)
                    st.account(row)
                rows[name] = row
            return {name: _status_of(st, row) for name, row in rows.items()}

        return await self._call("account_statuses", work)

    def _added(self, st: Statement, name: AccountName) -> AccountRow:
        """Return a new account's row; one that restored books do not know rests as well."""
        row = _row(st, name)
        until = row.ask_first_until
        if until is None or until <= self._far.now():
            return row
        order = next(one for one in reversed(st.tables.audit) if one.action == "restored")
        reason = f"the database was restored: {order.reason}"
        return row._replace(paused=True, paused_reason=reason, paused_at=order.at)

    async def count_refusal(
        self, name: AccountName, *, limit: int, reason: str, at: datetime
    ) -> AccountStatus:
        """Count a configuration refusal; the `limit`-th in a row pauses the account."""

        def work(st: Statement) -> AccountStatus:
            row = _row(st, name)
            if row.refused_at != at:  # The instant tells it from the same one told again.
                refusals = row.refusals + 1
                row = row._replace(refusals=refusals, refused_at=at)
                if not row.paused:
                    pauses = refusals >= limit
                    row = row._replace(
                        paused=pauses,
                        paused_at=at if pauses else None,
                        paused_reason=reason if pauses else None,
                    )
                st.account(row)
            return _status_of(st, row)

        return await self._call("count_refusal", work)

    async def clear_refusals(self, name: AccountName) -> None:
        """Begin to count anew; a paused account stays as it is until a person resumes it."""

        def work(st: Statement) -> None:
            row = st.tables.accounts.get(name)
            if row is not None and row.refusals and not row.paused:
                st.account(row._replace(refusals=0))

        await self._call("clear_refusals", work)

    async def set_paused(
        self, name: AccountName, *, paused: bool, reason: str, at: datetime
    ) -> AccountStatus:
        """Pause the account or resume it; resuming forgets the refusals and the balance."""
        return await self._call(
            "set_paused",
            lambda st: _status_of(st, set_paused(st, name, paused=paused, reason=reason, at=at)),
        )

    async def record_balance(self, name: AccountName, *, minor: int, at: datetime) -> None:
        """Keep the utility balance, unless a later one is known."""

        def work(st: Statement) -> None:
            row = _row(st, name)
            if row.balance_at is None or row.balance_at < at:
                st.account(row._replace(balance_minor=minor, balance_at=at))

        await self._call("record_balance", work)

    async def exposures(self, names: Sequence[AccountName]) -> Sequence[Exposure]:
        """Return for each account what its balance was last, and the sum that is on its way."""

        def work(st: Statement) -> list[Exposure]:
            on_the_way = standing_in(st.tables, _ON_THE_WAY)
            return [
                Exposure(
                    name=name,
                    utility_balance_minor=row.balance_minor,
                    at_risk_minor=sum(p.amount_minor for p in on_the_way if p.account == name),
                )
                for name in sorted(set(names))
                if (row := st.tables.accounts.get(name)) is not None
            ]

        return await self._call("exposures", work)

    async def begin_suspect(self, key: str, *, at: datetime) -> int:
        """Write down that this command is tried alone, and how often it had been begun before."""

        def work(st: Statement) -> int:
            begun, last = st.tables.suspects.get(key, (0, None))
            if last != at:  # The instant tells one trial from the same one written down again.
                begun += 1
            st.suspect(key, (begun, at))
            return begun - 1

        return await self._call("begin_suspect", work)

    async def clear_suspect(self, key: str) -> None:
        """Forget a suspect: it was handled to the end."""
        await self._call("clear_suspect", lambda st: st.suspect(key, None))


def set_paused(
    st: Statement, name: AccountName, *, paused: bool, reason: str | None, at: datetime
) -> AccountRow:
    """Pause an account or resume it; resuming forgets its refusals and its balance."""
    row = _row(st, name)._replace(
        paused=paused, paused_reason=reason, paused_at=at if paused else None
    )
    if not paused:
        row = row._replace(refusals=0, balance_minor=None, balance_at=None)
    st.account(row)
    return row


def _row(st: Statement, name: AccountName) -> AccountRow:
    """Return an account's row; a new one is asked about first if the books were restored."""
    row = st.tables.accounts.get(name)
    if row is not None:
        return row
    order = next((one for one in reversed(st.tables.audit) if one.action == "restored"), None)
    if order is None or "new account asks first" in st.without:
        return AccountRow(name)
    return AccountRow(name, ask_first_until=datetime.fromisoformat(order.details[UNTIL]))


def _status_of(st: Statement, row: AccountRow) -> AccountStatus:
    workers = st.tables.workers.values()
    return AccountStatus(
        name=row.name,
        paused=row.paused,
        paused_reason=row.paused_reason,
        refusals=row.refusals,
        pace=row.pace,
        utility_balance_minor=row.balance_minor,
        balance_at=row.balance_at,
        cut_off_workers=sum(one.lives and row.name in one.cut_off for one in workers),
    )
