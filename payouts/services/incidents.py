"""Keeps what needs a person, with all that a Result has told, and makes the Result of it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from payouts.domain.answers import QueueTimeout, Result
from payouts.domain.payout import Payout
from payouts.domain.signals import Signal
from payouts.domain.values import (
    ConversationId,
    OriginatorConversationId,
    PayoutId,
    TransactionId,
    retry_ids_for,
)
from payouts.ports import Clock, Incident, IncidentKind, PayoutStore, Telemetry

# Beside the Result's own parameters; no key of M-PESA's begins so.
_READ: Final = "result."
_INTERMEDIATE: Final = _READ + "intermediate"
_DESCRIPTION: Final = _READ + "description"
_AMOUNT: Final = _READ + "amount_minor"
_AMOUNT_UNREADABLE: Final = _READ + "amount_unreadable"
_RECEIVER: Final = _READ + "receiver"
_MOST_RETRIES: Final = 20


class Incidents:
    """Records incidents durably, then tells of them; evidence goes into the books only.

    Raises (every method that records):
        StoreUnavailableError: nothing is certain to have been written; recording again keeps
            one incident.
    """

    def __init__(self, store: PayoutStore, clock: Clock, telemetry: Telemetry) -> None:
        self._store = store
        self._clock = clock
        self._telemetry = telemetry

    async def record(
        self, kind: IncidentKind, result: Result, payout: Payout | None, detail: str
    ) -> None:
        """Keep a Result that could not be applied; the same Result again is kept once."""
        incident = Incident(
            kind=kind,
            at=self._clock.now(),
            payout_id=payout.payout_id if payout else None,
            originator_conversation_id=result.originator_conversation_id,
            conversation_id=result.conversation_id,
            transaction_id=result.transaction_id,
            code=result.code,
            detail=detail,
            evidence=evidence_of(result),
        )
        await self._keep(incident)
        if kind is IncidentKind.CONTRADICTION and payout is not None:
            await self._tell_held(payout)

    async def record_timeout(self, notice: QueueTimeout, detail: str) -> None:
        """Keep a queue time-out that names nothing that is known."""
        await self._keep(
            Incident(
                kind=IncidentKind.UNMATCHED,
                at=self._clock.now(),
                originator_conversation_id=notice.originator_conversation_id,
                detail=detail,
            )
        )

    async def record_stuck(self, payout: Payout, detail: str) -> None:
        """Keep that a payout's doubt has lasted too long: once for each time that it fell in."""
        await self._store.record_incident(
            Incident(
                kind=IncidentKind.STUCK,
                at=payout.doubt_since or payout.created_at,
                payout_id=payout.payout_id,
                originator_conversation_id=payout.originator_conversation_id,
                conversation_id=payout.conversation_id,
                detail=detail,
            )
        )
        self.tell_stuck(payout)

    def tell_stuck(self, payout: Payout) -> None:
        """Tell of a payout whose stuck incident is durable."""
        self._telemetry.emit(
            Signal.PAYOUT_STUCK,
            payout_id=payout.payout_id,
            account=payout.account,
            state=payout.state.value,
        )
        self._telemetry.emit(
            Signal.INCIDENT_RECORDED,
            kind=IncidentKind.STUCK.value,
            payout_id=payout.payout_id,
            originator_conversation_id=payout.originator_conversation_id,
            code=None,
        )

    async def _keep(self, incident: Incident) -> None:
        await self._store.record_incident(incident)
        self._telemetry.emit(
            Signal.INCIDENT_RECORDED,
            kind=incident.kind.value,
            payout_id=incident.payout_id,
            originator_conversation_id=incident.originator_conversation_id,
            code=incident.code,
        )

    async def _tell_held(self, payout: Payout) -> None:
        """Tell of later submissions of the payout that the store holds for the contradiction."""
        first_id = PayoutId(payout.originator_conversation_id.split("_", 2)[2])
        for number in range(2, _MOST_RETRIES):
            retry_id, _ = retry_ids_for(payout.originator_conversation_id, first_id, number)
            retry = await self._store.find(PayoutId(retry_id))
            if retry is None:
                return
            if retry.retry_of is not None and retry.held is not None and not retry.ended:
                self._telemetry.emit(
                    Signal.PAYOUT_HELD,
                    payout_id=retry.payout_id,
                    account=retry.account,
                    reason=retry.held,
                )


def evidence_of(result: Result) -> Mapping[str, str]:
    """Return all that a Result told, so that `result_of` can make it again."""
    read = {
        _INTERMEDIATE: str(result.intermediate),
        _DESCRIPTION: result.description,
        _AMOUNT_UNREADABLE: str(result.amount_unreadable),
    }
    if result.amount_minor is not None:
        read[_AMOUNT] = str(result.amount_minor)
    if result.receiver is not None:
        read[_RECEIVER] = result.receiver
    return {**result.parameters, **read}


def result_of(incident: Incident) -> Result | None:
    """Return the payment's Result of which an incident was made; None: it was of no Result.

    The balance that it told is left out: it is long out of date.
    """
    evidence = incident.evidence
    if incident.code is None or _INTERMEDIATE not in evidence:
        return None
    own, gateway = incident.originator_conversation_id, incident.conversation_id
    receipt, amount = incident.transaction_id, evidence.get(_AMOUNT)
    return Result(
        code=incident.code,
        description=evidence.get(_DESCRIPTION, ""),
        intermediate=evidence[_INTERMEDIATE] == str(True),
        originator_conversation_id=None if own is None else OriginatorConversationId(own),
        conversation_id=None if gateway is None else ConversationId(gateway),
        transaction_id=None if receipt is None else TransactionId(receipt),
        amount_minor=None if amount is None else int(amount),
        amount_unreadable=evidence.get(_AMOUNT_UNREADABLE) != str(False),
        receiver=evidence.get(_RECEIVER),
        parameters={key: said for key, said in evidence.items() if not key.startswith(_READ)},
    )
