"""The one documented list of telemetry events. Logs and metrics are made from it.

`docs/reference/telemetry.md` is generated from `SIGNALS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Level(StrEnum):
    """How loud a signal is in the logs."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Signal(StrEnum):
    """What can happen, as the logs name it."""

    PROCESS_STARTED = "process.started"
    PROCESS_DRAINING = "process.draining"
    PROCESS_STOPPED = "process.stopped"
    COMMAND_RECEIVED = "command.received"
    COMMAND_REPEATED = "command.repeated"
    COMMAND_HELD = "command.held"
    COMMAND_SUSPECTED = "command.suspected"
    COMMAND_DEAD_LETTERED = "command.dead_lettered"
    COMMAND_FAILED = "command.failed"
    PAYOUT_SUBMITTED = "payout.submitted"
    PAYOUT_MOVED = "payout.moved"
    PAYOUT_ENDED = "payout.ended"
    PAYOUT_QUERIED = "payout.queried"
    PAYOUT_STUCK = "payout.stuck"
    PAYOUT_HELD = "payout.held"
    RESULT_RECEIVED = "result.received"
    RESULT_REPEATED = "result.repeated"
    RESULT_REFUSED = "result.refused"
    INCIDENT_RECORDED = "incident.recorded"
    EVENT_PUBLISHED = "event.published"
    EVENT_UNROUTABLE = "event.unroutable"
    EVENT_POSTPONED = "event.postponed"
    ACCOUNT_PAUSED = "account.paused"
    ACCOUNT_RESUMED = "account.resumed"
    CIRCUIT_OPENED = "circuit.opened"
    CIRCUIT_CLOSED = "circuit.closed"
    PACE_LOWERED = "pace.lowered"
    STORE_AWAY = "store.away"
    STORE_BACK = "store.back"
    LEASE_LOST = "lease.lost"
    SWEEP_DONE = "sweep.done"
    SWEEP_FAILED = "sweep.failed"
    CALLBACK_DENIED = "callback.denied"
    CALLBACK_DROPPED = "callback.dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalFacts:
    """What a signal means and which fields it carries (never personal data)."""

    level: Level
    meaning: str
    fields: tuple[str, ...] = ()


_D, _I, _W, _E = Level.DEBUG, Level.INFO, Level.WARNING, Level.ERROR


def _facts(level: Level, meaning: str, *fields: str) -> SignalFacts:
    return SignalFacts(level=level, meaning=meaning, fields=fields)


SIGNALS: Final[Mapping[Signal, SignalFacts]] = MappingProxyType(
    {
        Signal.PROCESS_STARTED: _facts(_I, "A process is ready.", "process", "addresses"),
        Signal.PROCESS_DRAINING: _facts(_I, "A process takes nothing new.", "process", "in_flight"),
        Signal.PROCESS_STOPPED: _facts(_I, "A process has ended.", "process", "abandoned"),
        Signal.COMMAND_RECEIVED: _facts(
            _D, "A new payout is durable.", "payout_id", "account", "state"
        ),
        Signal.COMMAND_REPEATED: _facts(
            _I, "A command came again; no second payout.", "payout_id", "account", "ended"
        ),
        Signal.COMMAND_HELD: _facts(
            _W,
            "A new payout is durable, but nothing is sent for it yet.",
            "payout_id",
            "account",
            "reason",
        ),
        Signal.COMMAND_SUSPECTED: _facts(
            _W,
            "A command came back too often; it is tried alone.",
            "account",
            "deliveries",
            "begun",
        ),
        Signal.COMMAND_DEAD_LETTERED: _facts(
            _W, "A command was put aside.", "account", "reason", "payout_id"
        ),
        Signal.COMMAND_FAILED: _facts(
            _W, "Handling a command failed; it goes back to its queue.", "error"
        ),
        Signal.PAYOUT_SUBMITTED: _facts(
            _D,
            "A request was answered, or not.",
            "payout_id",
            "account",
            "attempt",
            "answer",
            "code",
            "seconds",
            "waited",
            "originator_conversation_id",
        ),
        Signal.PAYOUT_MOVED: _facts(
            _D, "A payout entered a state.", "payout_id", "account", "state", "kind", "code"
        ),
        Signal.PAYOUT_ENDED: _facts(
            _D,
            "A payout has ended.",
            "payout_id",
            "account",
            "state",
            "code",
            "seconds",
            "conversation_id",
        ),
        Signal.PAYOUT_QUERIED: _facts(
            _I, "The gateway was asked about a payout.", "payout_id", "account", "by", "found"
        ),
        Signal.PAYOUT_STUCK: _facts(
            _E,
            "A payout stands still for too long; a person decides.",
            "payout_id",
            "account",
            "state",
        ),
        Signal.PAYOUT_HELD: _facts(
            _E,
            "Something contradicts an earlier submission: nothing more is sent for the later one.",
            "payout_id",
            "account",
            "reason",
        ),
        Signal.RESULT_RECEIVED: _facts(
            _D, "A Result was applied.", "payout_id", "code", "originator_conversation_id"
        ),
        Signal.RESULT_REPEATED: _facts(
            _I, "A Result came again; nothing more.", "payout_id", "code"
        ),
        Signal.RESULT_REFUSED: _facts(
            _W, "A callback was not readable; refused.", "kind", "status", "detail", "size"
        ),
        Signal.INCIDENT_RECORDED: _facts(
            _E,
            "Something needs a person.",
            "kind",
            "payout_id",
            "originator_conversation_id",
            "code",
        ),
        Signal.EVENT_PUBLISHED: _facts(
            _D, "An event was taken.", "event_id", "type", "payout_id", "seconds"
        ),
        Signal.EVENT_UNROUTABLE: _facts(
            _W, "No queue takes an event; kept and tried again.", "event_id", "type", "payout_id"
        ),
        Signal.EVENT_POSTPONED: _facts(
            _W, "RabbitMQ is away; an event is tried again.", "event_id", "payout_id"
        ),
        Signal.ACCOUNT_PAUSED: _facts(_E, "Nothing more is sent.", "account", "reason"),
        Signal.ACCOUNT_RESUMED: _facts(_I, "Sending goes on.", "account"),
        Signal.CIRCUIT_OPENED: _facts(
            _E, "The gateway cannot be reached; no more commands are taken.", "account", "failures"
        ),
        Signal.CIRCUIT_CLOSED: _facts(_I, "The gateway is back.", "account", "seconds"),
        Signal.PACE_LOWERED: _facts(_W, "The gateway throttles.", "account", "pace"),
        Signal.STORE_AWAY: _facts(_E, "The database does not answer.", "doing"),
        Signal.STORE_BACK: _facts(_I, "The database answers again.", "doing", "seconds"),
        Signal.LEASE_LOST: _facts(
            _E, "This worker was silent for too long; it starts over.", "owner"
        ),
        Signal.SWEEP_DONE: _facts(_D, "A sweep moved payouts.", "sweep", "count"),
        Signal.SWEEP_FAILED: _facts(_W, "A sweep failed; it runs again.", "sweep", "error"),
        Signal.CALLBACK_DENIED: _facts(
            _W, "A source outside the allow-list was refused.", "source"
        ),
        Signal.CALLBACK_DROPPED: _facts(
            _W, "A connection was ended: it was too slow, or there was no room.", "reason"
        ),
    }
)
