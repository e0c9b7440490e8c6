"""What can go wrong with a measurement."""

from ops.local.errors import LocalServerError


class BenchError(LocalServerError):
    """A stack did not do its work, so there is nothing to compare; its log tells more."""
