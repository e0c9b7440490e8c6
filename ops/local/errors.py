"""What can go wrong with the private servers, and what a person does about it."""

from payouts.domain.errors import PayoutsError


class LocalServerError(PayoutsError):
    """A private server did not do what was asked of it; its log tells more."""


class ServerNotFoundError(PayoutsError):
    """A server program is not installed; run ops/setup.sh, or install it by hand."""
