"""A seed's story, to read and to compare: every step enters one digest."""

from __future__ import annotations

import hashlib
from asyncio import events
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from payouts.domain.events import Event
from payouts.domain.payout import Payout
from tests.simulation.loop import present_process
from tests.simulation.seams import Commit

if TYPE_CHECKING:
    from tests.simulation.world import World


class Trace:
    """Digests every step of a world, and tells what is worth reading.

    Args:
        tell: takes one line each; None to digest only.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self._tell = tell
        self._digest = hashlib.sha256()

    def digest(self) -> str:
        """Return what all steps so far amount to; the same if and only if they were the same."""
        return self._digest.hexdigest()

    def watch(self, world: World) -> None:
        """Hear of every step, and of all that the auditor hears."""
        world.loop.trace = self._step
        auditor = world.auditor
        self._hear(auditor, world, "committed", _of_commit)
        self._hear(auditor, world, "sending", _of_payout)
        for name in ("arrived", "paid", "declined", "acknowledged", "dead_lettered"):
            self._hear(auditor, world, name, _of_anything)
        self._hear(auditor, world, "took_event", _of_event)
        self._hear(auditor, world, "result_acknowledged", _of_anything)
        if self._tell is not None:
            kill = world.kill
            tell = self._tell

            def told(name: str, *, restart: bool = True) -> None:
                tell(f"{world.loop.time():9.3f}                kill {name}")
                kill(name, restart=restart)

            world.kill = told  # type: ignore[method-assign]

    def _hear(self, auditor: Any, world: World, name: str, words: Callable[..., str]) -> None:
        heard = getattr(auditor, name)

        def hear(*args: Any, **named: Any) -> None:
            said = words(*args, **named)
            line = f"{world.loop.time():9.3f} {_present():>14} {name} {said}"
            self._digest.update(line.encode())
            if self._tell is not None:
                self._tell(line)
            heard(*args, **named)

        setattr(auditor, name, hear)

    def _step(self, at_s: float, handle: events.Handle) -> None:
        self._digest.update(f"{at_s!r} {type(handle).__name__}".encode())


def _of_commit(commit: Commit) -> str:
    moves = []
    for payout_id, after in commit.after.items():
        before = commit.before[payout_id]
        was = "-" if before is None else before.state.value
        reason = "" if after.reason is None else f" ({after.reason.source} {after.reason.code})"
        held = "" if after.held is None else f" held: {after.held}"
        moves.append(f"{payout_id} {was}>{after.state.value}#{after.attempts}{reason}{held}")
    incidents = [f"{one.kind.value} {one.originator_conversation_id}" for one in commit.incidents]
    events = [f"{one.type} {one.subject}" for one in commit.events]
    return f"{commit.by}: {'; '.join([*moves, *incidents, *events])}"


def _of_payout(payout: Payout) -> str:
    return f"{payout.originator_conversation_id} #{payout.attempts}"


def _of_event(event: Event) -> str:
    return f"{event.type} {event.subject} {event.event_id}"


def _of_anything(*args: object, **named: object) -> str:
    return f"{args} {named}"


def _present() -> str:
    process = present_process()
    return "" if process is None else process.name
