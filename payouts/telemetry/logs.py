"""Log lines by structlog: JSON for machines, columns for people, masked in any case."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from payouts.domain.signals import SIGNALS, Level, Signal
from payouts.telemetry.masking import mask

LEVELS: Final[Mapping[str, int]] = MappingProxyType(
    {
        Level.DEBUG.value: logging.DEBUG,
        Level.INFO.value: logging.INFO,
        Level.WARNING.value: logging.WARNING,
        Level.ERROR.value: logging.ERROR,
    }
)
# The AMQP library logs each attempt to reconnect as an error, and whole messages; what matters
# of both is told by signals and by readiness.
SILENCED: Final = ("aiormq", "aio_pika")
# Whoever reaches the callback server's port can cause these, as many as they like.
BY_STRANGERS: Final = (
    Signal.RESULT_REFUSED,
    Signal.CALLBACK_DENIED,
    Signal.CALLBACK_DROPPED,
)
LINES_PER_S: Final = 10


def open_log(stream: TextIO, *, form: str, level: str, **bound: object) -> FilteringBoundLogger:
    """Return a logger that writes masked lines to `stream`; nothing global is changed.

    Args:
        stream: usually stderr; stdout is for data.
        form: `json` or `console`.
        level: from which level on; what is below costs next to nothing.
        bound: what each line carries, such as the process's name.
    """
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(
            colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            structlog.processors.format_exc_info,
            _mask_all,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        context_class=dict,
    )
    return logger.bind(**bound)


class SignalLog:
    """Writes signals as log lines: the signal's name, its level, its documented fields.

    A field that the list of signals does not name is left out, and named as undocumented. Of
    signals that strangers can cause, so many a second are written; the next line tells how many
    were left out.
    """

    def __init__(
        self,
        logger: FilteringBoundLogger,
        *,
        level: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._level = LEVELS[level]
        self._samples = {signal: _Sample(clock) for signal in BY_STRANGERS}

    def wants(self, signal: Signal) -> bool:
        """Tell whether this signal is loud enough."""
        return LEVELS[SIGNALS[signal].level.value] >= self._level

    def receive(self, signal: Signal, fields: Mapping[str, object]) -> None:
        """Write one line."""
        facts = SIGNALS[signal]
        sample = self._samples.get(signal)
        if sample is not None and not sample.takes():
            return
        told = {name: fields[name] for name in facts.fields if name in fields}
        if len(told) < len(fields):
            told["undocumented"] = sorted(fields.keys() - set(facts.fields))
        if sample is not None and sample.left_out:
            told["left_out"], sample.left_out = sample.left_out, 0
        self._logger.log(LEVELS[facts.level.value], signal.value, **told)


class _Sample:
    """Lets the first few of each second through and counts the others."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._second = -1
        self._taken = 0
        self.left_out = 0

    def takes(self) -> bool:
        """Tell whether this one is written."""
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        if self._taken <= LINES_PER_S:
            return True
        self.left_out += 1
        return False


def capture_stdlib(logger: FilteringBoundLogger, *, level: str) -> None:
    """Send what libraries log through `logger`, warnings and worse; a process does this once."""
    root = logging.getLogger()
    root.handlers = [_Bridge(logger)]
    root.setLevel(max(LEVELS[level], logging.WARNING))
    for name in SILENCED:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.captureWarnings(capture=True)


class _Bridge(logging.Handler):
    """Passes the standard library's records on."""

    def __init__(self, logger: FilteringBoundLogger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        level = max((one for one in LEVELS.values() if one <= record.levelno), default=0)
        self._logger.log(
            level or logging.DEBUG, message, logger=record.name, exc_info=record.exc_info or None
        )


def _mask_all(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: mask(value, key=key) for key, value in event.items()}
