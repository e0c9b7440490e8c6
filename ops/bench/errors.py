"""What can go wrong with a measurement."""

from ops.local.errors import LocalServerError


class BenchError(LocalServerError):
    """A stack did not do its work, so there is nothing to compare; its log tells more."""


class TooShortError(BenchError):
    """The round ended before two instants of it were seen; let it have more payouts."""
