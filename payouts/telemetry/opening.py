"""Telemetry of one process, put together."""

from __future__ import annotations

import os
import sys
from typing import Protocol

from payouts.telemetry.fanout import Fanout
from payouts.telemetry.logs import SignalLog, capture_stdlib, open_log
from payouts.telemetry.metrics import SignalMetrics


class LogOptions(Protocol):
    """What of the settings telemetry looks at."""

    @property
    def log_format(self) -> str:
        """Return `json` or `console`."""
        ...

    @property
    def log_level(self) -> str:
        """Return from which level on lines are written."""
        ...


def open_telemetry(options: LogOptions, process: str) -> tuple[Fanout, SignalMetrics]:
    """Return what to emit signals to, and the metrics made of them; logs go to stderr.

    What libraries log goes the same way from now on.
    """
    level = str(options.log_level)
    log = open_log(
        sys.stderr, form=str(options.log_format), level=level, process=process, pid=os.getpid()
    )
    capture_stdlib(log, level=level)
    metrics = SignalMetrics()
    return Fanout([SignalLog(log, level=level), metrics]), metrics
