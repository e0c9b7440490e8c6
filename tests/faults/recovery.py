"""How long it takes to recover from a death: until the last payout that it touched has ended.

Touched by a worker's death: what it had claimed, by the timeline, and had not seen ended. By a
callback server's: every payout that the gateway had paid but that had not ended, as its Result may
have been in this server's hands. Further deaths and the gateway's own faults on the way count in,
so these are upper bounds.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from statistics import median

import asyncpg

from tests.faults.keeper import Death
from tests.faults.points import Process

_CLAIMS = """
SELECT split_part(w.name, ':', 2)::integer AS pid, t.at AS claimed_at, p.completed_at
FROM timeline t JOIN payouts p ON p.id = t.payout
JOIN workers w ON t.actor = 'worker ' || w.id
WHERE t.to_state = 'submitting' AND p.completed_at IS NOT NULL
"""
_ENDS = """
SELECT originator_conversation_id, completed_at FROM payouts WHERE completed_at IS NOT NULL
"""


@dataclass(slots=True)
class Recoveries:
    """The times of one kind of death; those that touched nothing open need none."""

    seconds: list[float] = field(default_factory=list)
    untouched: int = 0

    def add(self, died_at: float, ended_at: Iterable[float]) -> None:
        """Take in one death and when each payout ended that was open then."""
        last = max(ended_at, default=died_at)
        if last > died_at:
            self.seconds.append(last - died_at)
        else:
            self.untouched += 1

    def join(self, other: Recoveries) -> None:
        """Take in what another round found."""
        self.seconds += other.seconds
        self.untouched += other.untouched

    def told(self) -> dict[str, float | int]:
        """Return the figures."""
        found = sorted(self.seconds)
        return {
            "deaths": len(found) + self.untouched,
            "with open payouts": len(found),
            "median_s": round(median(found), 2) if found else 0.0,
            "p99_s": round(found[int(len(found) * 0.99)], 2) if found else 0.0,
            "worst_s": round(found[-1], 2) if found else 0.0,
        }


async def recoveries(
    connection: asyncpg.Connection, paid_at: Mapping[str, float], deaths: Sequence[Death]
) -> dict[str, Recoveries]:
    """Return the recovery times by kind of process; call it when nothing moves any more.

    Args:
        connection: to the round's database.
        paid_at: when the gateway paid, by OriginatorConversationID.
        deaths: violent ones.
    """
    claims: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for row in await connection.fetch(_CLAIMS):
        claims[row["pid"]].append((row["claimed_at"].timestamp(), row["completed_at"].timestamp()))
    ends = {row[0]: row[1].timestamp() for row in await connection.fetch(_ENDS)}
    found = {process.value: Recoveries() for process in Process}
    waits = sorted((paid_at[one], ends[one]) for one in paid_at if one in ends)
    starts = [begun for begun, _ in waits]
    for death in deaths:
        times = found[death.process.value]
        if death.process is Process.WORKER:
            held = claims[death.pid]
            times.add(death.at, (end for begun, end in held if begun <= death.at < end))
        else:
            known = waits[: bisect.bisect_right(starts, death.at)]
            times.add(death.at, (end for _, end in known if end > death.at))
    return found


def instant(text: str) -> float:
    """Return the seconds of an RFC 3339 instant."""
    return datetime.fromisoformat(text).timestamp()
