"""The tables of `docs/reference/database.md`: what is kept, what guards it, what is indexed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sqlalchemy import CheckConstraint, Dialect, Index, Table, UniqueConstraint, make_url
from sqlalchemy.schema import CreateIndex

from ops.docs.columns import MEANINGS
from ops.docs.sections import filled, table
from payouts.storage.tables import METADATA

PATH: Final = "docs/reference/database.md"

PURPOSES: Final[Mapping[str, str]] = {
    "payouts_conversation_id_idx": "a Result that names only M-PESA's ConversationID",
    "payouts_due_idx": "the sweep of due payouts",
    "payouts_expiring_idx": "the sweep of what expired unsent",
    "payouts_ask_first_idx": "what a restore wants asked about before it is sent",
    "payouts_held_idx": "what is held, of a run or of all",
    "payouts_retry_of_key": "one further submission per submission: unique",
    "payouts_repeat_idx": "repeats, where they are watched for",
    "payouts_overdue_idx": "the sweep of overdue Results",
    "payouts_doubts_idx": "the sweep of doubts",
    "payouts_owner_idx": "the sweeps of what dead workers left, and of orphans",
    "payouts_run_idx": "`payouts run show`, `payouts verify --run`, a run's list",
    "payouts_open_idx": "`payouts list`: what is open, oldest first",
    "payouts_failed_idx": "`payouts list`: what has failed",
    "payouts_listed_idx": "`payouts list` by age, by account; repeats; a statement's window",
    "events_completion_key": "one completion event per payout: unique",
    "events_other_idx": "the other events of a payout",
    "events_unpublished_idx": "the relay",
    "events_archived_idx": "events of archived payouts that were told again, to be forgotten",
    "queries_payout_idx": "the questions about a payout",
    "queries_conversation_id_idx": "a query's Result that names only a ConversationID",
    "incidents_at_idx": "incidents, newest first",
    "incidents_payout_idx": "the incidents of a payout",
    "incidents_unmatched_idx": "a Result that came before its payout was there",
    "archive_conversation_id_idx": "a Result that names only M-PESA's ConversationID, long after",
    "archive_run_idx": "`payouts run show`, `payouts verify --run`",
    "archive_retry_of_key": "one further submission per submission: unique",
    "audit_subject_idx": "who ordered what about a payout",
    "audit_restored_idx": "an account that is new after a restore",
    "workers_living_idx": "who is still alive",
}


def page() -> str:
    """Guarantees the page as it should stand."""
    sections: dict[str, str] = {}
    for one in METADATA.tables.values():
        sections[f"{one.name}_columns"] = _columns(one)
        sections[f"{one.name}_guards"] = _guards(one)
    return filled(PATH, {**sections, "indexes": _indexes()})


def _columns(one: Table) -> str:
    dialect = _dialect()
    rows = (
        (
            f"`{column.name}`",
            column.type.compile(dialect).lower(),
            "yes" if column.nullable else "no",
            MEANINGS[one.name][column.name],
        )
        for column in one.columns
    )
    return table(("column", "type", "null", "meaning"), *rows)


def _guards(one: Table) -> str:
    keys = ", ".join(f"`{column.name}`" for column in one.primary_key.columns)
    rows = [("primary key", keys)]
    for constraint in sorted(one.constraints, key=lambda found: str(found.name)):
        if isinstance(constraint, UniqueConstraint):
            names = ", ".join(f"`{column.name}`" for column in constraint.columns)
            rows.append((f"`{constraint.name}`", f"unique {names}"))
        elif isinstance(constraint, CheckConstraint):
            rows.append((f"`{constraint.name}`", f"`{constraint.sqltext}`"))
    return table(("constraint", "holds"), *rows)


def _indexes() -> str:
    found = {str(index.name): index for one in METADATA.tables.values() for index in one.indexes}
    if set(found) != set(PURPOSES):
        odd = sorted(set(found) ^ set(PURPOSES))
        raise ValueError(f"Say in PURPOSES what each index is for: {', '.join(odd)}.")
    rows = ((f"`{name}`", f"`{_on(found[name])}`", why) for name, why in PURPOSES.items())
    return table(("index", "on", "serves"), *rows)


def _on(index: Index) -> str:
    text = str(CreateIndex(index).compile(dialect=_dialect()))
    return " ".join(text.partition(" ON ")[2].split())


def _dialect() -> Dialect:
    return make_url("postgresql+asyncpg://").get_dialect()()
