"""What a kill point is: a step, who takes it, and the moments around it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Process(StrEnum):
    """Who dies; the value is the deployable's module."""

    WORKER = "worker"
    CALLBACK_SERVER = "callback_server"


class Moment(StrEnum):
    """When, as seen from the step."""

    BEFORE = "before"  # Nothing of the step has been done.
    DURING = "during"  # It is on its way; nobody here knows what has become of it.
    AFTER = "after"  # It is done, and nobody here has heard of it.
    SOON = "soon"  # It was handed on; within a few milliseconds the process dies.


class Part(StrEnum):
    """In which part of a process's life the point lies."""

    START = "start"
    WORK = "work"
    DRAIN = "drain"


class Load(StrEnum):
    """Which commands make a process come here; the value is the kind of round that has them."""

    MIXED = "points"
    STUCK = "stuck"  # Nobody can be asked about these; they are soon left to a person.
    SUSPECTED = "suspects"  # These count as suspects as soon as they come back.


class Seam(StrEnum):
    """How the point is put there."""

    METHOD = "method"  # Around a method: `package.module:Class.method`.
    BATCH = "batch"  # Around one commit of the batch writer of this name.
    GATE = "gate"  # Around the first byte of the request that this method sends.


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One step, the processes that take it, and the moments at which they can die there.

    Args:
        often: how many passings may go by before the one that kills, at most.
        rare: the processes that pass it only now and then, so that each passing has to be used.
        found: whether `after` means only passings that found or changed something.
        load: what has to be published so that it is passed.
    """

    name: str
    step: str
    target: str
    moments: tuple[Moment, ...]
    processes: tuple[Process, ...]
    part: Part = Part.WORK
    seam: Seam = Seam.METHOD
    often: int = 1
    rare: tuple[Process, ...] = ()
    found: bool = False
    load: Load = Load.MIXED


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A place, one of its processes, one of its moments."""

    place: Place
    process: Process
    moment: Moment

    @property
    def rare(self) -> bool:
        """Whether a life is armed with it besides its target."""
        found = self.place.found and self.moment is Moment.AFTER
        return found or self.process in self.place.rare

    @property
    def name(self) -> str:
        """Return the name by which it is armed, counted and told."""
        return f"{self.process}:{self.place.name}.{self.moment}"
