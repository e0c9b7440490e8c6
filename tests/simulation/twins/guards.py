"""The guards that live in the database, by name, so that each can be taken out to be proved.

`Books.without` names those that are gone. A mutation is what a careless change of the SQL would
do: the condition is missing, the rest of the statement stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

GUARDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        # Intake.
        "intent once": "ON CONFLICT DO NOTHING: a repeated command writes its payout anew",
        "conflict compare": "other content under a known payout_id is taken for a repeat",
        "insert paused": "an intent of a paused account or run is sent all the same",
        "insert held": "an intent that looks like a repeat is sent all the same",
        "unmatched held": "an intent whose Result has come already is sent all the same",
        "insert ask first": "after a restore a new intent is sent without asking first",
        "new account asks first": "trigger accounts_ask_first",
        "begins unsent": "check payouts_begins_unsent",
        # Transitions and ends.
        "move sources": "a move looks at its attempt only, not at the state",
        "move attempt": "a move looks at the state only, not at its attempt",
        "move heard": "a move that was committed unheard is not recognised when it is repeated",
        "doubt outlasts waiting": "a passing refusal of a later send forgets that one was open",
        "completion sources": "a Result is applied in whatever state the payout is",
        "completion amount": "a Result is applied though its amount or receiver differ",
        "ended stays": "trigger payouts_ended_stays",
        "transition legal": "trigger payouts_transition_legal",
        "unique completion event": "index events_completion_key",
        "event in the same commit": "the event is written by a statement of its own",
        "contradiction holds": "a contradiction leaves the second submission to be sent",
        # Sweeps.
        "claim state": "the due sweep claims what is being sent or in doubt, too",
        "claim paused": "the due sweep claims for paused accounts and runs",
        "claim held": "the due sweep claims what is held",
        "claim ask first": "the due sweep claims what has to be asked about first",
        "claim expired": "the due sweep claims what expired unsent",
        "expired unsent only": "what was sent expires as well",
        "expired ask first": "what has to be asked about first expires",
        "expired doubt": "what these books never sent expires once it was not found",
        "abandoned only if silent": "what living workers send is taken from them",
        "dead stay dead": "a worker that was declared dead beats on as if nothing was",
        "orphans in flight": "the sweep of orphans takes what is in flight",
        # Sending again.
        "not found grace": "a *not found* counts however soon it was asked after the last send",
        "not found interval": "a *not found* counts however soon it follows another",
        "not found queued": "a *not found* counts while the broker keeps the request",
        "resend state": "what is no longer in doubt is sent again",
        "resend proof count": "one *not found* is enough",
        "resend by policy": "what an answer says to have arrived is sent again by policy",
        "resend grace": "the first *not found* may be too early",
        "resend interval": "two *not found* may be too near to each other",
        "resend queued": "what the broker keeps is sent again",
        "resend held": "what is held is sent again",
        "resend paused": "what belongs to a paused account or run is sent again",
        "not found forgotten": "*not found* of an earlier send counts for a later one",
        # Orders.
        "retry only failed": "what is not conclusively failed is submitted a second time",
        "retry contradicted": "what a Result contradicts is submitted a second time",
        "retry once": "a payout is submitted a second time twice",
        "retry four eyes": "who has sworn that it was not paid may submit it again",
        "cancel unsent only": "what may be on its way is cancelled",
        "resolve in doubt only": "what is not in doubt is ended by a person's word",
        "resolve settled": "a person's word counts however soon after the last send",
    }
)
