"""The tables of `docs/reference/telemetry.md`: signals, metrics made of them, gauges."""

from __future__ import annotations

from typing import Final

from ops.docs.sections import filled, table
from payouts.domain.signals import SIGNALS
from payouts.telemetry.gauges import GAUGES
from payouts.telemetry.rows import ROWS, Kind, Row

PATH: Final = "docs/reference/telemetry.md"


def page() -> str:
    """Guarantees the page as it should stand."""
    return filled(PATH, {"signals": _signals(), "metrics": _metrics(), "gauges": _gauges()})


def _signals() -> str:
    rows = (
        (f"`{signal.value}`", facts.level.value, facts.meaning, _names(facts.fields))
        for signal, facts in SIGNALS.items()
    )
    return table(("signal", "level", "meaning", "fields"), *rows)


def _metrics() -> str:
    rows = (
        (
            f"`{row.name}{'_total' if row.kind is Kind.COUNTER else ''}`",
            row.kind.value,
            row.meaning,
            _names(row.labels),
            _moved_by(row),
        )
        for row in ROWS
        if row.kind is not Kind.GAUGE
    )
    return table(("metric", "kind", "meaning", "labels", "moved by"), *rows)


def _moved_by(row: Row) -> str:
    return f"`{row.signal.value}`" + (f" (`{row.value}`)" if row.value else "")


def _gauges() -> str:
    rows = (
        (f"`{gauge.value}`", facts.meaning, _names(facts.labels)) for gauge, facts in GAUGES.items()
    )
    return table(("gauge", "meaning", "labels"), *rows)


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
