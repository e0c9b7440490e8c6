"""The one tree of errors. A class's docstring is its message and says what to do next."""

from __future__ import annotations


class PayoutsError(Exception):
    """Something in the payout system went wrong; the cause is named in the message."""

    def __init__(self, detail: str = "") -> None:
        first_line = (self.__doc__ or "").strip().splitlines()[0]
        super().__init__(f"{first_line} {detail}".strip() if detail else first_line)
        self.detail = detail


class InvalidCommandError(PayoutsError):
    """The payout command is not valid; correct what is listed and publish it again."""

    def __init__(self, problems: tuple[str, ...], payout_id: str | None = None) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.payout_id = payout_id


class InvalidAmountError(PayoutsError):
    """The amount must be a decimal text above 0 with at most 2 decimals, such as "1250.50"."""


class InvalidMsisdnError(PayoutsError):
    """The receiver's number does not fit the market's pattern; give it as 2547… or 2541…."""


class SettingsError(PayoutsError):
    """The configuration is not usable; correct the variables that are listed."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n" + "\n".join(f"  - {problem}" for problem in problems))
        self.problems = problems


class StoreUnavailableError(PayoutsError):
    """The database does not answer; nothing was lost, the work is tried again."""


class StoreRefusedError(PayoutsError):
    """The database refused a write that the program should not have tried; report this."""


class SchemaError(PayoutsError):
    """The database schema is not the one this program needs; run `payouts db upgrade`."""


class GatewayUnreachableError(PayoutsError):
    """The gateway cannot be reached; check address, network, VPN and certificates."""


class UnreadableMessageError(PayoutsError):
    """The message is not what the M-PESA interface sends; it is refused and nothing is changed."""


class MessageTooLargeError(UnreadableMessageError):
    """The message is larger than the bounds allow; it is refused and nothing is changed."""


class BrokerUnavailableError(PayoutsError):
    """RabbitMQ does not answer; the message stays where it was and is tried again."""


class UnroutableError(PayoutsError):
    """No queue takes this message; bind a queue to the exchange, it is kept and tried again."""


class TopologyError(PayoutsError):
    """RabbitMQ has an exchange or queue declared differently; remove it or correct the setting."""
