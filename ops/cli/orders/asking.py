"""`payouts reconcile`: ask the gateway now, or compare a statement with the books."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from ops.cli.exits import Exit, UsageError
from ops.cli.orders.carrying import Errand, carry_out
from ops.cli.orders.commands import ordering
from ops.cli.orders.selection import Selection, by_id_or_run
from ops.cli.orders.signature import Signature
from ops.cli.screen import Screen
from ops.cli.statement.command import StatementOptions, reconcile_statement
from payouts.domain.payout import Payout, State
from payouts.storage.reading import Listing

_ASKABLE: Final = frozenset({State.ACCEPTED, State.IN_DOUBT})
_OUTLOOK: Final = "A running worker asks within seconds; `payouts show PAYOUT_ID` tells the answer."


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """About what the gateway is asked.

    Args:
        run: Ask about all payouts of this run that are accepted or in doubt.
        in_doubt: Ask about all payouts in doubt.
        reason: Why is asked; it stands in the audit for good.
        operator: Who asks; by default PAYOUTS_OPERATOR, else the login name.
    """

    run: str | None = None
    in_doubt: bool = False
    reason: str | None = None
    operator: str | None = None


async def reconcile(
    *targets: str,
    question: Annotated[Question | None, Parameter(name="*")] = None,
    statement: Annotated[StatementOptions | None, Parameter(name="*")] = None,
    json: bool = False,
) -> Exit:
    """Have the gateway asked about payouts now; or compare a statement file with the books.

    Asking, which needs --reason, sends no payment. It goes on although the account is paused,
    the payout is held, or questions were left to a person after a day.

    A statement changes nothing: each payment in it is looked for here, and each payout that
    succeeded here within its time is looked for in it. Exit 3: there are differences.

    Args:
        targets: Payouts to ask about; or one statement, a file such as statement.csv, as the
            M-PESA organisation portal exports it or as PAYOUTS_STATEMENT_COLUMNS says.
        question: About what is asked.
        statement: What of a statement is compared, and how much is told.
        json: Write for programs.
    """
    file = _statement(targets)
    if file is not None:
        if question is not None:
            raise UsageError("--run, --in-doubt, --reason and --operator are for asking.")
        return await reconcile_statement(file, options=statement, json=json)
    if statement is not None:
        raise UsageError(
            "Name a statement: --account, --since, --until, --limit, --out are for it."
        )
    return await _ask(targets, question or Question(), json=json)


async def _ask(targets: tuple[str, ...], question: Question, *, json: bool) -> Exit:
    if question.reason is None:
        raise UsageError("--reason must say why.")
    selection = _selection(targets, question)
    signature = Signature(reason=question.reason, operator=question.operator, json=json)
    async with ordering(signature) as desk:
        errand = Errand(
            verb="Ask about",
            done="to be asked about",
            fits=_may_be_asked,
            carry=lambda one: desk.books.orders.ask_now(one, desk.order()),
            asks=False,
            outlook=_OUTLOOK,
        )
        return await carry_out(Screen(), desk.books, errand, selection, yes=True, json=json)


def _statement(targets: tuple[str, ...]) -> Path | None:
    """Return the file that is meant; a payout's id may end with .csv too, but hardly does."""
    files = [Path(one) for one in targets if one.lower().endswith(".csv") or Path(one).is_file()]
    if not files:
        return None
    if len(targets) > 1:
        raise UsageError("Name one statement file, or payouts.")
    return files[0]


def _selection(targets: tuple[str, ...], question: Question) -> Selection:
    if not question.in_doubt:
        return by_id_or_run(targets, question.run, Listing(states=_ASKABLE))
    if targets or question.run is not None:
        raise UsageError("--in-doubt goes alone.")
    listing = Listing(states=frozenset({State.IN_DOUBT}))
    return Selection(listing=listing, named="what is in doubt")


def _may_be_asked(payout: Payout) -> bool:
    return payout.state in _ASKABLE
