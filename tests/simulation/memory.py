"""What the auditor remembers: books of its own, what was wanted, said and ordered."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, NamedTuple

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from payouts.ports import Incident, IncidentKind
from tests.simulation.clocks import BEGINNING
from tests.simulation.laws import ENDS
from tests.simulation.scenario import Scenario
from tests.simulation.truth import Truth
from tests.simulation.twins.store import Books
from tests.simulation.upstream import Wanted

SLACK_S: Final = 0.05


class Violation(NamedTuple):
    """An invariant that did not hold: which, when, and what was seen."""

    invariant: int
    at_s: float
    text: str

    def __str__(self) -> str:
        return f"invariant {self.invariant} at {self.at_s:.3f} s: {self.text}"


class Counted(NamedTuple):
    """A *not found* that the books count: when it was asked, and when that was written."""

    asked_s: float
    written_s: float


def seconds_of(at: datetime | None) -> float:
    """Return an instant as the world's seconds."""
    return 0.0 if at is None else (at - BEGINNING).total_seconds()


def tells_of_a_result(incident: Incident) -> bool:
    """Tell whether a Result came for an id that nobody knew; a queue time-out has no code.

    What the broker dropped may be sent again, once it is not found.
    """
    return incident.kind is IncidentKind.UNMATCHED and incident.code is not None


class Memory:
    """Keeps what was seen; `violations` is empty as long as all invariants hold.

    Args:
        scenario: what was planned, for the patience and the policy.
        time: the true seconds.
        found: called at each violation.
    """

    def __init__(
        self, scenario: Scenario, time: Callable[[], float], found: Callable[[], None]
    ) -> None:
        self.violations: list[Violation] = []
        self.truth = Truth()
        self.seen: Counter[str] = Counter()
        self.rows: dict[str, Payout] = {}
        self.books: Books | None = None
        self.is_alive: Callable[[str], bool] = lambda _: False
        self._scenario = scenario
        self._settings = scenario.settings
        self._time = time
        self._found = found
        gateway = scenario.gateway  # What it caches, the core does not know.
        lies = gateway.not_found_wrongly > 0 or gateway.lag_unseen > 0
        self._doubtful = scenario.resends or lies or gateway.queued > 0
        self._restored = False
        self._wanted: defaultdict[str, list[Wanted]] = defaultdict(list)
        self._messages: dict[str, tuple[str, Wanted]] = {}
        self._id_of: dict[str, str] = {}
        self._payout_of: dict[str, str] = {}
        self._root_of: dict[str, str] = {}
        self._events: dict[str, Event] = {}
        self._completions: dict[str, str] = {}
        self._published: set[str] = set()
        self._dead: Counter[tuple[bytes, str | None]] = Counter()
        self._counted: defaultdict[str, list[Counted]] = defaultdict(list)
        self._seen_s: dict[str, float] = {}
        self._told: defaultdict[str, list[tuple[str, int | None]]] = defaultdict(list)
        self._retries: defaultdict[str, set[str]] = defaultdict(set)
        self._sworn: defaultdict[str, set[str]] = defaultdict(set)
        self._alike: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
        self._spoiled: set[str] = set()
        self._answered: set[str] = set()
        self._contradicted: set[str] = set()
        self._unmatched: set[str] = set()
        self._sum: Counter[str] = Counter()
        self._minor: Counter[str] = Counter()

    def published(self, account: str, wanted: Wanted) -> None:
        """Hear that upstream wants something, or sends rubbish."""
        self._messages[wanted.message_id] = (account, wanted)
        if wanted.valid:
            self._wanted[wanted.payout_id].append(wanted)

    def messages(self) -> Iterator[tuple[str, Wanted]]:
        """Return all that was published so far, with its account."""
        yield from list(self._messages.values())

    def retry_ordered(self, payout_id: str, operator: str) -> None:
        """Hear that a person is about to ask for a second submission."""
        self._retries[payout_id].add(operator)

    def sworn(self, payout_id: str, operator: str, *, true: bool) -> None:
        """Hear that a person is about to swear how a payout ended; a lie makes ends worthless."""
        self._sworn[payout_id].add(operator)
        if not true:
            self._spoiled.add(self._root(payout_id))

    def restored(self) -> None:
        """Hear that the database is that of an earlier time: go on from what it holds."""
        self._restored = True
        books = self._own_books()
        self.rows = {str(name): row for name, row in books.payouts.items()}
        self._sum.clear()
        self._minor.clear()
        for row in self.rows.values():
            self._book(row, 1)
        self._completions = {
            event.payout_id: event.event_id
            for event in books.events.values()
            if event.type in ENDS.values()
        }
        self._contradicted = {
            str(one.payout_id) for one in books.incidents if one.kind is IncidentKind.CONTRADICTION
        }
        self._unmatched = {
            str(one.originator_conversation_id) for one in books.incidents if tells_of_a_result(one)
        }

    def _book(self, row: Payout, sign: int) -> None:
        self._sum[row.state.value] += sign
        self._minor[row.state.value] += sign * row.amount_minor

    def _root(self, payout_id: str) -> str:
        return self._root_of.get(payout_id, payout_id)

    def _own_books(self) -> Books:
        if self.books is None:
            raise RuntimeError("The auditor has no books to look into.")
        return self.books

    def _report(self, invariant: int, text: str) -> None:
        self.violations.append(Violation(invariant, self._time(), text))
        self._found()
