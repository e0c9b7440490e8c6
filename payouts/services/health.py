"""Whether the database answers, for the readiness of a process that has no lease."""

from __future__ import annotations

from payouts.domain.errors import StoreUnavailableError
from payouts.ports import PayoutStore


class StoreHealth:
    """Remembers whether the last look at the database worked."""

    def __init__(self, store: PayoutStore) -> None:
        self._store = store
        self.answers = False

    async def look(self) -> int:
        """Look at the database once; a failure is remembered and raised to the sweep."""
        try:
            await self._store.account_statuses(())
        except StoreUnavailableError:
            self.answers = False
            raise
        self.answers = True
        return 0
