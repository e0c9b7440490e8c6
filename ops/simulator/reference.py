"""The tables of `docs/reference/simulator.md`, made from the code.

`python -m ops.simulator.reference PAGE` rewrites them in the page; a test keeps page and code in
step.
"""

import re
import sys
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

from ops.simulator.faults import KINDS
from ops.simulator.numbers import numbers_table
from ops.simulator.settings import ABOUT, DEFAULT_CERTIFICATE, PREFIX, SimulatorSettings

_SECTION = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def faults_table() -> str:
    """Guarantees the Markdown table of every kind of fault."""
    lines = ["| fault | argument | what it does |", "|---|---|---|"]
    for name, kind in KINDS.items():
        argument = kind.argument.replace("|", ", ")
        if argument and not kind.required:
            argument += " (optional)"
        lines.append(f"| `{name}` | {argument} | {kind.about} |")
    return "\n".join(lines)


def settings_table() -> str:
    """Guarantees the Markdown table of every variable with its default."""
    lines = ["| variable | meaning | default |", "|---|---|---|"]
    defaults = SimulatorSettings()
    for one in fields(SimulatorSettings):
        default = DEFAULT_CERTIFICATE if one.name == "certificate" else getattr(defaults, one.name)
        lines.append(f"| `{PREFIX}{one.name.upper()}` | {ABOUT[one.name]} | {_shown(default)} |")
    return "\n".join(lines)


def _shown(default: object) -> str:
    if default == "":
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{default:.2f}`" if isinstance(default, Decimal) else f"`{default}`"


def filled(page: str) -> str:
    """Guarantees `page` with each marked section replaced by its table."""
    tables = {"numbers": numbers_table, "faults": faults_table, "settings": settings_table}
    return _SECTION.sub(lambda found: f"{found[1]}{tables[found[2]]()}\n{found[3]}", page)


def main(arguments: list[str]) -> int:
    """Guarantees that the named page holds the tables of today."""
    page = Path(arguments[0])
    page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
