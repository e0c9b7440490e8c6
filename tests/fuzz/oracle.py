"""The judge of every parser: which errors, how long, how much memory, and what errors tell."""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.fuzz.planted import planted_in

LONGEST_S: Final = 0.1
TRACED_TIMES: Final = 4.0  # Coverage of lines or branches slows Python code down this much.
MEMORY_FREE: Final = 2 * 1024 * 1024
MEMORY_PER_BYTE: Final = 48
_TRIES: Final = 4

Mutator = Callable[[bytes, Random], bytes]


class Finding(AssertionError):  # noqa: N818 - what a fuzzer has is a finding
    """A parser did what none may do."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One parser under attack.

    Args:
        read: reads one input; what it returns is handed to `check`.
        errors: the only errors that may come out of `read`.
        check: raises Finding where what was read is not what it must be.
        seeds: inputs that are right, or nearly.
        tokens: what the format is made of.
        mutators: changes that keep the structure nearly valid.
        most: the longest input that is made.
        s_per_kib: what each KiB may take on top of LONGEST_S, where files have no bound.
        free: memory that is granted whatever the input's size.
    """

    name: str
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], Sequence[bytes]]
    tokens: Sequence[bytes]
    mutators: Sequence[Mutator]
    check: Callable[[object, bytes], None]
    most: int = 300_000
    s_per_kib: float = 0.0
    free: int = MEMORY_FREE


def examine(target: Target, data: bytes, *, weigh: bool = True, times: float = 1.0) -> bool:
    """Raise Finding if the target breaks a rule on this input; tell whether it read it.

    Args:
        target: who reads.
        data: what is read.
        weigh: whether memory is measured too, which makes it a few times slower.
        times: by how much instruments slow the code down.
    """
    began = time.thread_time()
    error = _attempt(target, data)
    took_s = time.thread_time() - began
    _judge_time(target, data, took_s, times)
    if error is not None:
        judge_error(error)
    if weigh:
        _judge_memory(target, data)
    return error is None


def _attempt(target: Target, data: bytes) -> Exception | None:
    try:
        read = target.read(data)
    except target.errors as error:
        return error
    target.check(read, data)
    return None


def _judge_time(target: Target, data: bytes, took_s: float, times: float) -> None:
    """Fail what is slow every time: processor time hardly knows of the machine's other work."""
    slower = max(times, TRACED_TIMES if sys.gettrace() is not None else 1.0)
    bound_s = slower * (LONGEST_S + target.s_per_kib * len(data) / 1024)
    for _ in range(_TRIES):
        if took_s <= bound_s:
            return
        gc.collect()
        began = time.thread_time()
        _attempt(target, data)
        took_s = min(took_s, time.thread_time() - began)
    raise Finding(f"{target.name}: {len(data)} bytes take {took_s:.3f} s, {bound_s:.3f} may be")


def _judge_memory(target: Target, data: bytes) -> None:
    started = not tracemalloc.is_tracing()
    if started:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        _attempt(target, data)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        if started:
            tracemalloc.stop()
    bound = target.free + MEMORY_PER_BYTE * len(data)
    if peak > bound:
        raise Finding(f"{target.name}: {len(data)} bytes take {peak} of memory, {bound} may be")


def judge_error(error: Exception) -> None:
    """Raise Finding if an error, as anybody may log it, repeats what is personal or secret."""
    for text in told_by(error):
        judge_text(text)


def judge_text(text: str, most: int = 20_000) -> None:
    """Raise Finding if a text that is logged or sent repeats a secret, or is endless."""
    planted = planted_in(text)
    if planted is not None:
        raise Finding(f"an error repeats {planted}: {text[:300]}")
    if len(text) > most:
        raise Finding(f"an error has {len(text)} characters: {text[:300]}")


def told_by(error: BaseException) -> Iterator[str]:
    """Yield what an error tells, and those that a traceback shows with it."""
    yield repr(error)
    shown: BaseException | None = error
    for _ in range(10):
        if shown is None:
            return
        yield str(shown)
        detail = getattr(shown, "problems", ()) or (getattr(shown, "detail", ""),)
        yield from map(str, detail)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
