"""How a command ends: its exit status, and the errors that end it early."""

from __future__ import annotations

from enum import IntEnum

from payouts.domain.errors import PayoutsError


class Exit(IntEnum):
    """What a script can rely on (contract.md §5)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNFINISHED = 3  # Done, but not every payout succeeded.


class CommandError(PayoutsError):
    """The command could not do its work."""

    status: int = Exit.FAILED

    def __init__(self, message: str) -> None:
        super().__init__()
        self.args = (message,)


class UsageError(CommandError):
    """The command was called in a way that cannot work."""

    status = Exit.USAGE
