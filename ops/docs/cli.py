"""The commands of `docs/reference/cli.md`, as `payouts --help` tells them."""

from __future__ import annotations

import re
from typing import Final

from ops.cli.app import build_app
from ops.docs.sections import filled

PATH: Final = "docs/reference/cli.md"
_FALSE: Final = re.compile(r" \*\[default: (?:False|\[\])\]\*")

# Started by `python -m`, cyclopts puts the rest of that into each usage.
_PROGRAM: Final = re.compile(r"^(payouts [a-z -]*?) -m [\w.]+", re.MULTILINE)


def page() -> str:
    """Guarantees the page as it should stand."""
    return filled(PATH, {"commands": _commands()})


def _commands() -> str:
    text = build_app().generate_docs(heading_level=2, usage_name="payouts")
    # What comes before the first command repeats the page's own beginning.
    _, heading, commands = text.partition("\n### ")
    return _PROGRAM.sub(r"\1", _FALSE.sub("", heading.strip("\n") + commands))
