"""The lawful ways of a payout, written down once more: the auditor shares no rule with its suspect.

From design.md §3, by name, so that a change of the product's table is noticed here.
"""

from __future__ import annotations

from typing import Final

LAWFUL: Final = frozenset(
    {
        (None, "received"),
        (None, "submitting"),
        (None, "failed"),
        ("received", "submitting"),
        ("received", "succeeded"),
        ("received", "failed"),
        ("received", "in_doubt"),
        ("submitting", "accepted"),
        ("submitting", "waiting"),
        ("submitting", "in_doubt"),
        ("submitting", "succeeded"),
        ("submitting", "failed"),
        ("waiting", "submitting"),
        ("waiting", "succeeded"),
        ("waiting", "failed"),
        ("waiting", "in_doubt"),
        ("accepted", "succeeded"),
        ("accepted", "failed"),
        ("accepted", "in_doubt"),
        ("in_doubt", "accepted"),
        ("in_doubt", "submitting"),
        ("in_doubt", "waiting"),
        ("in_doubt", "succeeded"),
        ("in_doubt", "failed"),
    }
)
ENDS: Final = {"succeeded": "payout.succeeded", "failed": "payout.failed"}
CONTENT: Final = (
    "account",
    "amount_minor",
    "currency",
    "msisdn",
    "command_id",
    "originator_conversation_id",
    "created_at",
    "run_id",
    "remark",
    "occasion",
    "not_after",
    "metadata",
    "retry_of",
)
# What the gateway itself says may move a payout at any time, also while it is being sent.
SAID_BY_GATEWAY: Final = frozenset({"result", "query"})
PAID: Final = "0"
VAGUE: Final = "17"  # A Result with this code says nothing.
NOT_PAID: Final = "resolved_not_paid"
