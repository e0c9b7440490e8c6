"""The table of kill points: every boundary between two steps at which a process can be made to die.

Nothing of the product knows them. `mortal.py` puts them around the product's classes at run time,
in a test's own process, so that in production they cost nothing and cannot be set by accident.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from tests.faults.places import Load, Moment, Part, Place, Point, Process, Seam

__all__ = [
    "PLACES",
    "POINTS",
    "Load",
    "Moment",
    "Part",
    "Place",
    "Point",
    "Process",
    "Seam",
    "table",
]

B, D, A, S = Moment.BEFORE, Moment.DURING, Moment.AFTER, Moment.SOON
W: Final = (Process.WORKER,)
C: Final = (Process.CALLBACK_SERVER,)
BOTH: Final = (Process.WORKER, Process.CALLBACK_SERVER)

_STORE: Final = "payouts.storage.store:PostgresStore"
_GATEWAY: Final = "payouts.mpesa.client:SoapGateway"


def _statement(
    method: str,
    step: str,
    processes: tuple[Process, ...] = W,
    *,
    moments: tuple[Moment, ...] = (B, A),
    often: int = 1,
    rare: tuple[Process, ...] = (),
    found: bool = False,
    part: Part = Part.WORK,
    load: Load = Load.MIXED,
) -> Place:
    return Place(
        name=method.replace("_", "-"),
        step=step,
        target=f"{_STORE}.{method}",
        moments=moments,
        processes=processes,
        part=part,
        often=often,
        rare=rare,
        found=found,
        load=load,
    )


def _commit(
    writer: str,
    step: str,
    processes: tuple[Process, ...],
    *,
    often: int,
    rare: tuple[Process, ...] = (),
) -> Place:
    return Place(
        name=f"{writer}-commit",
        step=step,
        target=writer,
        moments=(B, D, A),
        processes=processes,
        seam=Seam.BATCH,
        often=often,
        rare=rare,
    )


def _gate(method: str, step: str, moments: tuple[Moment, ...], *, often: int = 1) -> Place:
    return Place(
        name=f"{method.replace('_', '-')}-first-byte",
        step=step,
        target=f"{_GATEWAY}.{method}",
        moments=moments,
        processes=W,
        seam=Seam.GATE,
        often=often,
    )


def _method(
    name: str,
    step: str,
    target: str,
    moments: tuple[Moment, ...],
    processes: tuple[Process, ...] = W,
    *,
    often: int = 1,
    rare: tuple[Process, ...] = (),
    part: Part = Part.WORK,
) -> Place:
    return Place(
        name=name,
        step=step,
        target=target,
        moments=moments,
        processes=processes,
        often=often,
        rare=rare,
        part=part,
    )


_START: Final = (
    _method(
        "topology",
        "declare exchanges and queues",
        "payouts.messaging.topology:Topology.declare",
        (B, D, A),
        BOTH,
        part=Part.START,
    ),
    _method(
        "store-opened",
        "open the database, check its schema",
        f"{_STORE}.__aenter__",
        (A,),
        BOTH,
        part=Part.START,
    ),
    _statement("enlist", "take a worker's number", part=Part.START),
)

_INTAKE: Final = (
    _method(
        "delivery",
        "handle one delivery: arrived / durable, not acknowledged",
        "worker.commands:CommandHandler.handle",
        (B, A),
        often=40,
    ),
    _method(
        "turn",
        "a slot and the account's turn are taken, nothing is written",
        "payouts.storage.pace:PostgresPace.turn",
        (A,),
        often=40,
    ),
    _commit("intents", "commit intents", W, often=20),
    _statement("record_intent", "the intent is durable and heard of", moments=(A,), often=40),
    _statement("record_rejection", "commit a `payout.rejected` of an invalid command", rare=BOTH),
    _method(
        "dead-letter",
        "publish a dead letter until confirmed",
        "payouts.messaging.publisher:DeadLetters.put",
        (B, D, A),
        rare=BOTH,
    ),
    _statement("begin_suspect", "write down that a suspect is tried alone", load=Load.SUSPECTED),
    _statement("clear_suspect", "forget a suspect", load=Load.SUSPECTED),
    _method(
        "acknowledgement",
        "acknowledge deliveries to RabbitMQ",
        "aiormq:Channel.basic_ack",
        (B, S),
        often=20,
    ),
)

_SUBMISSION: Final = (
    _method("submit", "send a payment: begun / answered", f"{_GATEWAY}.submit", (B, A), often=40),
    _gate("submit", "the payment's first byte: at the gate / written", (B, S), often=40),
    _commit("moves", "commit answers and other transitions", BOTH, often=20, rare=C),
    _statement(
        "move", "the transition is durable and heard of", BOTH, moments=(A,), often=20, rare=C
    ),
    _commit("notes", "commit notes in the timeline", BOTH, often=4, rare=C),
    _statement(
        "count_refusal", "count a configuration refusal, perhaps pause the account", rare=BOTH
    ),
    _statement("clear_refusals", "forget refusals after an acceptance", rare=BOTH),
    _statement("claim_due", "claim payouts that are due", moments=(B, D, A), found=True),
)

_COMPLETION: Final = (
    _method(
        "callback",
        "a Result arrives / its answer goes out",
        "callback_server.handlers:Handlers.result",
        (B, A, S),
        C,
        often=30,
    ),
    _method(
        "result",
        "take a Result: read / durable, not acknowledged",
        "payouts.services.completion:Completions.take_result",
        (B, A),
        BOTH,
        often=20,
        rare=W,
    ),
    _method(
        "queue-timeout",
        "take a notifyQueueTimeout: arrived / durable, not acknowledged",
        "payouts.services.completion:Completions.take_queue_timeout",
        (B, A),
        C,
        rare=BOTH,
    ),
    _commit("completions", "commit ends with their events", BOTH, often=10, rare=W),
    _statement("complete", "the end is durable and heard of", BOTH, moments=(A,), often=10, rare=W),
    _statement("record_incident", "keep an incident", BOTH, rare=BOTH),
    _statement("record_balance", "write the balance down that a Result told", BOTH, rare=BOTH),
    _statement(
        "set_paused", "pause an account whose Results blame its configuration", C, rare=BOTH
    ),
)

_RELAY: Final = (
    _method(
        "publish",
        "publish an event: begun / sent, not confirmed / confirmed, not marked",
        "payouts.messaging.event_publisher:AmqpEventPublisher.publish",
        (B, D, A),
        BOTH,
        often=10,
    ),
    _commit("published", "mark events published", BOTH, often=10),
    _statement("claim_unpublished", "claim overlooked events", BOTH, found=True),
)

_RECONCILIATION: Final = (
    _statement("claim_doubts", "claim payouts in doubt", found=True),
    _statement("keep_doubts", "renew claims on what waits for its turn to be asked", rare=BOTH),
    _statement("record_query", "write down that a question goes out"),
    _method("ask-broker", "ask the broker's log: answered", f"{_GATEWAY}.ask_broker", (A,)),
    _gate("ask_broker", "the question's bytes are written", (S,)),
    _method("ask-core", "ask the core: answered", f"{_GATEWAY}.ask_core", (A,)),
    _gate("ask_core", "the question's first byte: at the gate / written", (B, S)),
    _statement("attach_conversation", "keep the gateway's id of a question", rare=BOTH),
    _statement("record_not_found", "count a *not found*", BOTH, rare=BOTH),
    _statement("resend", "claim a payout for the same id's next send", found=True, rare=BOTH),
    _statement("record_sighting", "forget *not found*: it was seen", BOTH, rare=BOTH),
    _statement("postpone", "leave a payout to a person", load=Load.STUCK),
)

_SWEEPS: Final = (
    _statement("beat", "beat: tell that the worker lives", often=3),
    _statement(
        "mark_abandoned", "doubt what dead workers had in flight", BOTH, often=2, found=True
    ),
    _statement(
        "mark_overdue", "doubt accepted payouts without a Result", BOTH, often=2, found=True
    ),
    _statement("mark_orphaned", "doubt rows that this worker does not have in flight"),
    _statement("expire_unsent", "end what expired unsent", BOTH, often=2, found=True),
    _statement("find_returned", "find Results that came before their payouts", BOTH),
    _statement("record_stuck", "keep what stands still as incidents", BOTH, load=Load.STUCK),
)

_DRAIN: Final = (
    _method(
        "consumer-stop",
        "take no more deliveries, give the rest back",
        "payouts.messaging.consumer:CommandConsumer.stop",
        (B, A),
        part=Part.DRAIN,
    ),
    _method(
        "pool-drain",
        "wait for the requests in flight",
        "worker.pool:Pool.drain",
        (B, A),
        part=Part.DRAIN,
    ),
    _method(
        "door-close",
        "take no more callbacks",
        "callback_server.door:Door.close",
        (B, A),
        C,
        part=Part.DRAIN,
    ),
    _method(
        "server-stop",
        "finish the callbacks in hand",
        "aiohttp.web:AppRunner.cleanup",
        (A,),
        C,
        part=Part.DRAIN,
    ),
    _method(
        "loops-stop",
        "end the sweeps",
        "payouts.services.sweeps:SweepLoops.stop",
        (B, A),
        BOTH,
        part=Part.DRAIN,
    ),
    _statement("retire", "give the worker's number back", part=Part.DRAIN),
    _method(
        "relay-drain",
        "publish the events in hand",
        "payouts.services.relay:Relay.drain",
        (B, A),
        BOTH,
        part=Part.DRAIN,
    ),
)

PLACES: Final = (
    *_START,
    *_INTAKE,
    *_SUBMISSION,
    *_COMPLETION,
    *_RELAY,
    *_RECONCILIATION,
    *_SWEEPS,
    *_DRAIN,
)


def _points() -> Iterator[Point]:
    for place in PLACES:
        for process in place.processes:
            for moment in place.moments:
                yield Point(place=place, process=process, moment=moment)


POINTS: Final = {point.name: point for point in _points()}
"""All points by name, in the order of a payout's way."""


def table() -> str:
    """Return the table of places as Markdown, for docs/explanation/kill-points.md."""
    head = ("step", "name", "dies", "in", "of")
    rows = [
        (
            place.step,
            f"`{place.name}`",
            ", ".join(place.moments),
            place.part.value,
            ", ".join(f"`{process}`" for process in place.processes),
        )
        for place in PLACES
    ]
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
