"""Reading a statement row by row, in bounded memory, in whatever encoding it was exported."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from ops.cli.exits import CommandError, UsageError
from ops.cli.statement.layout import HEADER_WITHIN, find_layout

MAX_LINE: Final = 64 * 1024  # Characters. A line of a statement has some hundreds.
_LOOK: Final = 4096
_SHEETS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_PDF: Final = b"%PDF"


class StatementFile:
    """One statement, with its layout; a file that is none is refused before anything is compared.

    Comma, semicolon, tab and bar are told apart by the header, and lines before it are passed
    over. UTF-8 and UTF-16, with and without a mark, are read as such; in anything else the bytes
    beyond ASCII become surrogates, of which none stands in a field that is compared.
    """

    def __init__(self, path: Path, columns: Sequence[tuple[str, str]]) -> None:
        self.path = path
        raw = _open(path)
        self._text = TextIOWrapper(
            raw, encoding=_encoding(raw, path), errors="surrogateescape", newline=""
        )
        try:
            self.layout = find_layout(self._first_lines(), columns)
        except BaseException:
            self._text.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._text.close()

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows below the header with the line where each begins, counted from 1.

        Raises:
            CommandError: the file cannot be split into rows from some line on. Nothing is
                passed over in silence: what an open quotation mark swallows would be missing.
        """
        self._text.seek(0)
        lines = _Lines(self._text)
        for _ in range(self.layout.line):
            next(lines, None)
        reader = csv.reader(lines, delimiter=self.layout.delimiter, strict=True)
        while True:
            line = lines.count + 1
            try:
                row = next(reader, None)
            except (csv.Error, UnicodeError) as error:
                told = error if isinstance(error, csv.Error) else "its encoding is broken"
                raise CommandError(
                    f"{self.path}, line {line}: cannot be read as CSV ({told}); see that every"
                    " quotation mark is closed, and export it again."
                ) from None
            if row is None:
                return
            if any(map(str.strip, row)):
                yield line, row

    def _first_lines(self) -> Iterator[str]:
        lines = _Lines(self._text)
        try:
            for _ in range(HEADER_WITHIN):
                line = next(lines, None)
                if line is None:
                    return
                yield line
        except (csv.Error, UnicodeError):
            return


class _Lines(Iterator[str]):
    """Lines, counted; one that is too long is an error instead of a heap of memory."""

    def __init__(self, text: TextIOWrapper) -> None:
        self._text = text
        self.count = 0

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE)
        if not line:
            raise StopIteration
        if len(line) >= MAX_LINE:
            raise csv.Error(f"line {self.count + 1} is longer than {MAX_LINE} characters")
        self.count += 1
        return line


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UsageError("The statement's name is not a path.") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"{path} is not a file; save the statement first, a pipe is not read.")
    return file


def _encoding(file: BinaryIO, path: Path) -> str:
    start = file.read(_LOOK)
    file.seek(0)
    wrong = None
    if start.startswith(_SHEETS):
        wrong = "is a spreadsheet, not a CSV file; export the statement as CSV"
    elif start.startswith(_PDF):
        wrong = "is a PDF file; export the statement as CSV"
    elif not start:
        wrong = "is empty"
    if wrong is not None:
        file.close()
        raise UsageError(f"{path} {wrong}.")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\x00" in start:
        return "utf-16-le" if start[1:2] == b"\x00" else "utf-16-be"
    return "utf-8-sig"
