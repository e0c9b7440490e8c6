"""Pages whose prose is written by hand and whose marked sections are made from the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
_SECTION: Final = re.compile(r"(<!-- begin (\w+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def filled(path: str, sections: Mapping[str, str]) -> str:
    """Guarantees the page at `path` with each marked section replaced by what belongs there.

    Raises:
        ValueError: page and code do not name the same sections.
    """
    text = (ROOT / path).read_text(encoding="utf-8")
    marked = [found[2] for found in _SECTION.finditer(text)]
    if sorted(marked) != sorted(sections):
        raise ValueError(f"{path} marks {sorted(marked)}; the code makes {sorted(sections)}.")
    return _SECTION.sub(lambda found: f"{found[1]}{sections[found[2]].rstrip()}\n{found[3]}", text)


def table(*lines: tuple[str, ...]) -> str:
    """Guarantees a Markdown table; the first line is its head."""
    head, *rows = lines
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows)
    )
