"""`python -m ops.docs [--check]`: writes every page that is made from the code, or checks it."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Mapping
from typing import Final

from ops.docs import asyncapi, cli, codes, database, messages, settings, states, telemetry
from ops.docs.sections import ROOT
from ops.simulator import reference as simulator

SIMULATOR: Final = "docs/reference/simulator.md"


def simulator_page() -> str:
    """Guarantees the simulator's page, which it makes by itself, as it should stand."""
    return simulator.filled((ROOT / SIMULATOR).read_text(encoding="utf-8"))


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    **{
        one.PATH: one.page
        for one in (asyncapi, cli, codes, database, messages, settings, states, telemetry)
    },
    SIMULATOR: simulator_page,
}


def stale() -> Mapping[str, tuple[str, str]]:
    """Guarantees each page that is not as the code has it: as it stands, and as it should."""
    found = {}
    for path, page in PAGES.items():
        file = ROOT / path
        stands = file.read_text(encoding="utf-8") if file.exists() else ""
        wanted = page()
        if stands != wanted:
            found[path] = (stands, wanted)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Writes the stale pages; with `--check` shows them and exits 1."""
    parser = argparse.ArgumentParser(prog="python -m ops.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check = parser.parse_args(arguments).check
    pages = stale()
    for path, (stands, wanted) in pages.items():
        if check:
            lines = difflib.unified_diff(
                stands.splitlines(), wanted.splitlines(), path, "made from the code", lineterm=""
            )
            print("\n".join(lines))
        else:
            (ROOT / path).write_text(wanted, encoding="utf-8")
            print(f"Wrote {path}", file=sys.stderr)
    return 1 if check and pages else 0


if __name__ == "__main__":
    raise SystemExit(main())
