"""Reading a CSV file as spreadsheets write it: row by row, in bounded memory, with line numbers."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NamedTuple, Self

from ops.cli.exits import CommandError, UsageError

MAX_LINE: Final = 256 * 1024  # Far beyond 64 KiB, the largest command; an unclosed quote ends here.
BLOCK: Final = 64 * 1024
_MARK_BYTES: Final = 16
_DELIMITERS: Final = (",", ";", "\t", "|")
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")
_ZIP: Final = b"PK\x03\x04"


class ChangedError(CommandError):
    """The file holds other content than when it was first looked at."""


class Row(NamedTuple):
    """One row as it stands in the file; `line` is where it begins, counted from 1."""

    line: int
    cells: tuple[str, ...]


class CsvFile:
    """One file, open from the first look to the last, so that what is checked is what is sent.

    Comma, semicolon, tab and bar are told apart by the header. A byte order mark, CRLF, blanks
    around cells and empty rows are tolerated. Bytes that are not UTF-8 come out as surrogates,
    which the rows' check refuses by line and column.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = _open(path)
        self._seen = _identity(self._file)
        self._marks: bytes | None = None
        self.size = self._seen[0]
        try:
            self._delimiter, self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def digest(self) -> str:
        """Return the SHA-256 of the file's content, in hexadecimal.

        From then on `rows` compares what it reads with what was digested, by 16 bytes for each
        block of 64 KiB, so that other content is never taken for it.
        """
        running = hashlib.sha256()
        marks = bytearray()
        for block in self._blocks():
            running.update(block)
            marks += _mark(block)
        self._marks = bytes(marks)
        return running.hexdigest()

    def unchanged(self) -> bool:
        """Tell whether the file is still the one that was opened, as far as the system knows."""
        return _identity(self._file) == self._seen

    def rows(self) -> Iterator[Row]:
        """Yield the rows below the header, from the start, skipping empty ones.

        Raises:
            CommandError: the file cannot be split into rows from some line on.
            ChangedError: it holds other content than when its digest was made.
        """
        rows = self._split(self._delimiter)
        next(rows, None)
        for row in rows:
            if any(row.cells):
                yield row

    def _read_header(self) -> tuple[str, tuple[str, ...]]:
        first = _first_line(self._file, self._path)
        delimiter = max(_DELIMITERS, key=first.count)
        for row in self._split(delimiter):
            if any(row.cells):
                return delimiter, row.cells
            break
        raise UsageError(f"{self._path}: the first line must name the columns.")

    def _split(self, delimiter: str) -> Iterator[Row]:
        lines = chain.from_iterable(_lines(self._verified()))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                raise CommandError(
                    f"{self._path}, line {line}: cannot be read as CSV ({error});"
                    " see that every quotation mark is closed."
                ) from None
            if cells is None:
                return
            yield Row(line, tuple([cell.strip() for cell in cells]))
            line = reader.line_num + 1

    def _verified(self) -> Iterator[bytes]:
        """Yield the file's blocks; each that was digested must still be what it was."""
        marks = self._marks
        read = 0
        for block in self._blocks():
            if marks is not None and marks[read : read + _MARK_BYTES] != _mark(block):
                raise self._changed()
            read += _MARK_BYTES
            yield block
        if marks is not None and read != len(marks):
            raise self._changed()

    def _blocks(self) -> Iterator[bytes]:
        position = 0
        while True:
            # Two passes may be under way at once: nobody relies on where the file stands.
            self._file.seek(position)
            block = self._file.read(BLOCK)
            if not block:
                return
            position += len(block)
            yield block

    def _changed(self) -> ChangedError:
        return ChangedError(f"{self._path} was changed while it was read; look at it again.")


def _lines(blocks: Iterator[bytes]) -> Iterator[io.StringIO]:
    """Yield groups of whole lines, split at LF only, as a spreadsheet's cells may hold a CR."""
    rest = b""
    count = 0
    encoding = "utf-8-sig"
    for block in blocks:
        first = block.find(b"\n")
        if len(rest) + (len(block) if first < 0 else first) >= MAX_LINE:
            raise csv.Error(f"line {count + 1} is longer than {MAX_LINE} bytes")
        last = block.rfind(b"\n") + 1
        if last:
            whole = rest + block[:last]
            count += whole.count(b"\n")
            yield io.StringIO(whole.decode(encoding, errors="surrogateescape"), newline="\n")
            encoding = "utf-8"
        rest = block[last:] if last else rest + block
    if rest:
        yield io.StringIO(rest.decode(encoding, errors="surrogateescape"), newline="\n")


def _mark(block: bytes) -> bytes:
    return hashlib.blake2b(block, digest_size=_MARK_BYTES).digest()


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UsageError(f"{path} is not a file; it is read twice, so a pipe cannot be sent.")
    return file


def _identity(file: BinaryIO) -> tuple[int, int]:
    facts = os.fstat(file.fileno())
    return facts.st_size, facts.st_mtime_ns


def _first_line(file: BinaryIO, path: Path) -> str:
    file.seek(0)
    start = file.readline(MAX_LINE)
    if start.startswith(_UTF16):
        raise UsageError(f"{path} is UTF-16; export it as “CSV UTF-8”.")
    if start.startswith(_ZIP):
        raise UsageError(f"{path} is a spreadsheet, not a CSV file; export it as “CSV UTF-8”.")
    if not start:
        raise UsageError(f"{path} is empty.")
    return start.decode("utf-8-sig", errors="replace")
