"""The two streams of a command: data on stdout, all that is said about it on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ops.cli.exits import UsageError
from ops.cli.words import printable

_PIPE_WIDTH = 500  # Nobody folds what a program reads.


class Screen:
    """Writes data and messages where they belong; colours and motion only at a terminal.

    `NO_COLOR` is respected by rich. Nothing that is written here is read as markup.
    """

    def __init__(
        self,
        out: TextIO | None = None,
        err: TextIO | None = None,
        keyboard: TextIO | None = None,
    ) -> None:
        self.out = _console(out or sys.stdout)
        self.err = _console(err or sys.stderr)
        self._keyboard = keyboard or sys.stdin

    @property
    def animated(self) -> bool:
        """Whether progress may move on stderr."""
        return self.err.is_terminal and not self.err.is_dumb_terminal

    def show(self, thing: RenderableType) -> None:
        """Write data to stdout."""
        self.out.print(thing)

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line of data to stdout."""
        self.out.print(Text(printable(text), style=style))

    def json(self, document: object) -> None:
        """Write one JSON document to stdout, indented at a terminal only."""
        indent = 2 if self.out.is_terminal else None
        self.out.file.write(json.dumps(document, indent=indent) + "\n")
        self.out.file.flush()

    def record(self, document: object) -> None:
        """Write one JSON document in one line to stdout, of as many as there are."""
        self.out.file.write(json.dumps(document) + "\n")
        self.out.file.flush()

    def say(self, text: str, style: str = "") -> None:
        """Write a message to stderr."""
        for line in text.splitlines() or [""]:
            self.err.print(Text(printable(line), style=style))

    def complain(self, text: str) -> None:
        """Write an error to stderr."""
        first, *rest = text.splitlines() or [""]
        self.err.print(
            Text("payouts: ", style="bold red").append(printable(first), style="default")
        )
        for line in rest:
            self.err.print(Text(printable(line)))

    def confirm(self, question: str, *, yes: bool) -> bool:
        """Tell whether a person, or `--yes`, agrees to what cannot be undone.

        Raises:
            UsageError: nobody is there to be asked.
        """
        if yes:
            return True
        if not self._keyboard.isatty():
            raise UsageError(f"{question} Nobody is there to answer; say --yes to go on.")
        self.err.print(Text(f"{printable(question)} [y/N] ", style="bold"), end="")
        return self._keyboard.readline().strip().lower() in {"y", "yes"}


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command how to end when its reader has gone."""
        raise BrokenPipeError


def _console(file: TextIO) -> Console:
    # The terminal's own look decides; a pipe gets plain, unfolded lines.
    plain = not (hasattr(file, "isatty") and file.isatty())
    return _Console(
        file=file,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not plain,
        width=_PIPE_WIDTH if plain else None,
    )


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()
) -> Table:
    """Return a plain table; columns named in `right` hold figures. Texts become Text unread."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in right,
            overflow="fold",
        )
    for row in rows:
        made.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return made
