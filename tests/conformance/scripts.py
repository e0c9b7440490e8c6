"""Random calls of the store's ports, for whoever wants to compare two answers to each."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from payouts.domain.events import Event, rejection_of
from payouts.domain.payout import ENDED, TRANSITIONS, Payout, State
from payouts.domain.values import (
    AccountName,
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    RunId,
    TransactionId,
    WorkerId,
)
from payouts.ports import Action, Incident, IncidentKind, Intent, Order, Query
from tests.conformance.calls import Arguments, Call
from tests.conformance.stores import (
    LIMIT,
    REPEATED,
    UNSURE,
    WHY,
    move,
    own_id,
    received,
    result,
    sending,
)


class Scribe:
    """Makes up calls that mostly fit how payouts stand, and often do not.

    Args:
        seed: the same one makes up the same calls.
        look: tells how a payout stands at this moment.
        at: where its clock begins; each call is a little later than the one before.
    """

    def __init__(self, seed: int, look: Callable[[PayoutId], Payout | None], at: datetime) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - a test's
        self._look = look
        self.at = at
        self._names = [PayoutId(f"s{seed}-{letter}") for letter in "abcd"]
        self._accounts = [AccountName(f"account-{seed}"), AccountName(f"other-{seed}")]
        self._runs = [RunId(f"run-{seed}"), None, None]
        self._queries: list[OriginatorConversationId] = []
        self._events = ["00000000-0000-0000-0000-000000000000"]
        self._last: Call | None = None

    def calls(self, count: int) -> Iterator[Call]:
        """Give so many calls; now and then one is told again, word for word."""
        makers = self._makers()
        for _ in range(count):
            if self._last is not None and self._draw.random() < 0.1:
                yield self._last
                continue
            self.at += timedelta(milliseconds=self._draw.choice([1, 500, 7000, 40_000]))
            self._last = self._draw.choice(makers)()
            yield self._last

    def hear(self, outcome: object) -> None:
        """Learn the events that were handed out, so that they can be marked."""
        events = outcome if isinstance(outcome, list) else [getattr(outcome, "event", None)]
        self._events += [one.event_id for one in events if isinstance(one, Event)]

    def _makers(self) -> list[Callable[[], Call]]:
        often = [self._intent, self._move, self._move, self._claim_due]
        doubts = [self._not_found, self._not_found, self._resend, self._claim_doubts]
        return [
            *often * 3,
            *doubts * 3,
            *[self._order] * 6,
            self._complete,
            self._complete,
            self._query,
            self._query,
            self._note,
            self._incident,
            self._sweep,
            self._sweep,
            self._orphans,
            self._find,
            self._sighting,
            self._account,
            self._worker,
            self._outbox,
            self._steer,
            self._suspect,
            self._rejection,
            self._read,
        ]

    def _name(self) -> PayoutId:
        second = [PayoutId(f"{name}-r2") for name in self._names]
        known = [name for name in (*self._names, *second) if self._look(name) is not None]
        if not known or self._draw.random() < 0.05:
            return self._draw.choice(second)
        return self._draw.choice(known)

    def _doubted(self) -> PayoutId:
        """Give a payout in doubt, mostly, where there is one."""
        second = [PayoutId(f"{name}-r2") for name in self._names]
        stand = ((name, self._look(name)) for name in (*self._names, *second))
        doubted = [name for name, one in stand if one and one.state is State.IN_DOUBT]
        return self._draw.choice(doubted) if doubted else self._name()

    def _soon(self) -> datetime:
        return self.at + timedelta(seconds=self._draw.choice([-1, 0, 1, 30]))

    def _owner(self) -> WorkerId:
        return WorkerId(self._draw.choice([1, 2]))

    def _intent(self) -> Call:
        name, draw = self._draw.choice(self._names), self._draw
        facts: Arguments = {
            "account": draw.choice(self._accounts),
            "run_id": draw.choice(self._runs),
            "created_at": self.at,
        }
        facts["msisdn"] = f"2547{int(name[1:].split('-')[0]):08d}"
        facts["amount_minor"] = draw.choice([1999, 1999, 2001])
        facts["not_after"] = draw.choice([None, None, self.at + timedelta(seconds=20)])
        known = self._look(name)
        if known is not None and draw.random() < 0.7:
            same = ("account", "run_id", "msisdn", "amount_minor", "not_after")
            facts |= {key: getattr(known, key) for key in same}
        wanted = received(name, next_action_at=self.at, **facts)
        if draw.random() < 0.6:
            wanted = sending(name, self._owner(), claimed_at=self.at, **facts)
        elif draw.random() < 0.3:
            ended = {"state": State.FAILED, "reason": WHY[State.FAILED], "completed_at": self.at}
            wanted = replace(wanted, next_action_at=None, **ended)  # type: ignore[arg-type]
        elif draw.random() < 0.1:
            wanted = replace(wanted, originator_conversation_id=own_id(self._names[0]))
        elif draw.random() < 0.1:
            wanted = replace(wanted, next_action_at=None)
        return Call("record_intent", (Intent(payout=wanted, actor="worker 1"),))

    def _move(self) -> Call:
        name, draw = self._name(), self._draw
        known = self._look(name)
        source, to = draw.choice(list(TRANSITIONS))
        attempt: int | None = draw.choice([None, 1, 2])
        if known is not None and draw.random() < 0.8:
            ends = draw.random() < 0.2
            targets = [b for a, b in TRANSITIONS if a is known.state and (b in ENDED) is ends]
            targets += [b for b in targets if b is State.IN_DOUBT] * 3
            source, to = known.state, draw.choice(targets or [State.FAILED])
            attempt = draw.choice([None, known.attempts])
        if to is State.SUBMITTING and draw.random() < 0.9:
            to = State.FAILED
        planned = to not in ENDED and draw.random() < 0.95
        made = move(
            name,
            to,
            source,
            at=self.at,
            attempt=attempt,
            next_action_at=self._soon() if planned else None,
            sent_at=draw.choice([None, self.at]),
            queued=draw.choice([None, None, True, False]),
            conversation_id=draw.choice([None, ConversationId(f"AG_{name}")]),
            reason=draw.choice([None, WHY.get(to), WHY[State.IN_DOUBT], REPEATED, UNSURE]),
        )
        return Call("move", (made,))

    def _complete(self) -> Call:
        name, draw = self._name(), self._draw
        known = self._look(name)
        made = result(
            name,
            draw.choice([State.SUCCEEDED, State.FAILED]),
            at=self.at,
            amount_minor=draw.choice([None, 1999 if known is None else known.amount_minor, 1]),
            receiver=draw.choice([None, None if known is None else known.msisdn]),
            conversation_id=draw.choice([None, ConversationId(f"AG_{draw.choice(self._names)}")]),
        )
        if known is not None:
            made = replace(made, originator_conversation_id=known.originator_conversation_id)
        if draw.random() < 0.2:
            made = replace(made, originator_conversation_id=None)
        return Call("complete", (made,))

    def _note(self) -> Call:
        name, draw = self._name(), self._draw
        noted = move(
            name,
            State.ACCEPTED,
            at=self.at,
            kind="note",
            queued=draw.choice([None, True, False]),
            conversation_id=draw.choice([None, ConversationId(f"AG_{name}")]),
        )
        return Call("note", (noted,))

    def _incident(self) -> Call:
        name, draw = self._name(), self._draw
        made = Incident(
            kind=draw.choice([IncidentKind.CONTRADICTION, IncidentKind.UNMATCHED]),
            at=self.at,
            payout_id=name,
            originator_conversation_id=own_id(draw.choice(self._names)),
            code="0",
            detail="as told",
            evidence={"ReceiptNumber": "R1"},
        )
        return Call("record_incident", (made,))

    def _claim_due(self) -> Call:
        named = {"now": self._soon(), "limit": LIMIT}
        return Call("claim_due", (self._owner(), self._accounts), named)

    def _sweep(self) -> Call:
        draw = self._draw
        named: Arguments = {"now": self._soon(), "limit": LIMIT, "actor": "sweep"}
        kind = draw.choice(["expire", "overdue", "abandoned", "returned", "stuck"])
        match kind:
            case "expire":
                return Call("expire_unsent", (), named)
            case "overdue":
                return Call("mark_overdue", (), named)
            case "abandoned":
                lease_s = draw.choice([0.0, 1e6])
                return Call("mark_abandoned", (), {**named, "lease_s": lease_s})
            case "returned":
                since = self.at - timedelta(seconds=draw.choice([0, 30]))
                return Call("find_returned", (), {"since": since, "limit": LIMIT})
            case _:
                before = self.at - timedelta(seconds=30)
                return Call("record_stuck", (), {"before": before, "limit": LIMIT})

    def _orphans(self) -> Call:
        flying = self._draw.sample(self._names, 1)
        named = {"before": self._soon(), "now": self.at}
        return Call("mark_orphaned", (self._owner(), flying), named)

    def _claim_doubts(self) -> Call:
        until = self.at + timedelta(seconds=self._draw.choice([0, 30]))
        if self._draw.random() < 0.3:
            return Call("keep_doubts", (self._draw.sample(self._names, 2),), {"until": until})
        named = {"now": self._soon(), "until": until, "limit": LIMIT}
        return Call("claim_doubts", (self._accounts,), named)

    def _query(self) -> Call:
        name = self._name()
        if self._queries and self._draw.random() < 0.4:
            conversation_id = ConversationId(f"AG_Q{self._draw.randrange(3)}")
            query_id = self._draw.choice(self._queries)
            return Call("attach_conversation", (query_id, conversation_id))
        query_id = OriginatorConversationId(f"600000_ORG-q{len(self._queries)}_{name}")
        self._queries.append(query_id)
        query = Query(query_id=query_id, payout_id=name, asked_at=self.at)
        return Call("record_query", (query,), {"next_action_at": self._soon(), "actor": "worker 1"})

    def _not_found(self) -> Call:
        draw = self._draw
        named: Arguments = {
            "asked_at": self._soon(),
            "grace_s": draw.choice([0.0, 0.0, 0.0, 60.0]),
            "interval_s": draw.choice([0.0, 0.0, 0.0, 30.0]),
            "next_action_at": self._soon(),
            "actor": "worker 1",
            "query_id": None,
        }
        return Call("record_not_found", (self._doubted(),), named)

    def _sighting(self) -> Call:
        if self._draw.random() < 0.5:
            planned = self._draw.choice([None, self._soon()])
            return Call("postpone", (self._name(),), {"next_action_at": planned})
        return Call("record_sighting", (self._name(),), {"seen_at": self.at, "actor": "worker 1"})

    def _resend(self) -> Call:
        draw = self._draw
        named: Arguments = {
            "now": self.at,
            "grace_s": draw.choice([0.0, 0.0, 5.0, 60.0]),
            "interval_s": draw.choice([0.0, 30.0, 60.0]),
            "by_policy": draw.random() < 0.3,
            "actor": "worker 1",
        }
        return Call("resend", (self._doubted(), self._owner()), named)

    def _find(self) -> Call:
        draw = self._draw
        own = draw.choice([None, own_id(self._name())])
        other = draw.choice([None, ConversationId(f"AG_{self._name()}"), ConversationId("AG_Q1")])
        if draw.random() < 0.5:
            return Call("find_by_conversation", (own, other))
        return Call("find_query", (draw.choice([None, *self._queries]), other))

    def _account(self) -> Call:
        draw = self._draw
        name = draw.choice(self._accounts)
        match draw.randrange(6):
            case 0:
                return Call("account_statuses", (self._accounts,))
            case 1:
                named = {"limit": 3, "reason": "refused", "at": self.at}
                return Call("count_refusal", (name,), named)
            case 2:
                return Call("clear_refusals", (name,))
            case 3:
                minor = draw.randrange(10_000)
                return Call("record_balance", (name,), {"minor": minor, "at": self._soon()})
            case 4:
                return Call("exposures", (self._accounts,))
            case _:
                paused = draw.random() < 0.3
                return Call(
                    "set_paused", (name,), {"paused": paused, "reason": "so", "at": self.at}
                )

    def _worker(self) -> Call:
        match self._draw.randrange(4):
            case 0:
                return Call("enlist", ("worker",), {"accounts": self._accounts})
            case 1:
                return Call("retire", (WorkerId(self._draw.randrange(3, 20)),))
            case _:
                return Call("beat", (self._owner(),), {"cut_off": self._accounts[:1]})

    def _outbox(self) -> Call:
        draw = self._draw
        if draw.random() < 0.6:
            return Call("mark_published", (draw.choice(self._events),))
        until = self.at + timedelta(seconds=draw.choice([0, 30]))
        named = {"older_than": self._soon(), "until": until, "limit": LIMIT}
        return Call("claim_unpublished", (), named)

    def _by(self) -> Order:
        operator = self._draw.choice(["jane", "omar", " Jane "])
        return Order(operator=operator, reason="they called", at=self.at)

    def _order(self) -> Call:
        draw, by = self._draw, self._by()
        name = draw.choice([self._name(), self._doubted()])
        method = draw.choice(
            [
                "retry",
                "retry",
                "cancel",
                "resolve_paid",
                "resolve_not_paid",
                "hold",
                "release",
                "release",
                "ask_now",
                "republish",
            ]
        )
        if method == "resolve_paid":
            return Call(method, (name, TransactionId(f"R{self._draw.choice(self._names)}"), by))
        if method == "resolve_not_paid":
            return Call(method, (name, by), {"settled_s": draw.choice([0.0, 60.0])})
        return Call(method, (name, by))

    def _steer(self) -> Call:
        draw, by = self._draw, self._by()
        match draw.randrange(12):
            case 0 | 1 | 2 | 3 | 4 | 5:
                named = {"paused": draw.random() < 0.4, "order": by}
                return Call("set_run_paused", (RunId(self._runs[0] or ""),), named)
            case 6 | 7 | 8:
                named = {"paused": draw.random() < 0.3, "order": by}
                return Call("set_account_paused", (draw.choice(self._accounts),), named)
            case 9 | 10:
                return Call("note_order", (Action.REPLAY_DEAD_LETTER, "m-1", by, {"count": "1"}))
            case _:
                return Call("restored", (by,), {"ask_first_s": 60.0})

    def _suspect(self) -> Call:
        key = self._draw.choice(["k1", "k2"])
        if self._draw.random() < 0.3:
            return Call("clear_suspect", (key,))
        return Call("begin_suspect", (key,), {"at": self.at})

    def _rejection(self) -> Call:
        event = rejection_of(
            self._name(), ("amount: is no number",), message_key="m", account="a", at=self.at
        )
        return Call("record_rejection", (event,))

    def _read(self) -> Call:
        match self._draw.randrange(3):
            case 0:
                return Call("paused_runs")
            case 1:
                return Call("audit_lines", (), {"before": None, "limit": 5})
            case _:
                return Call("check_audit")
