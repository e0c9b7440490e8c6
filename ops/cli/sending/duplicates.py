"""What stands in a file twice, found in bounded memory."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from itertools import chain
from struct import Struct
from types import TracebackType
from typing import BinaryIO, Final, Self

from ops.cli.exits import CommandError
from payouts.domain.commands import Command

_PARTS: Final = 256
_RECORD: Final = Struct(">16sQ")
_MOST_HELD: Final = 48 * 1024 * 1024


class Duplicates:
    """Remembers every id and every pair of receiver and amount by a 16-byte digest.

    48 MiB of them are kept in memory at most, the rest in temporary files that are gone when it
    is closed. The digests are keyed with a random key, so that no receiver's number can be read
    from the disk.
    """

    def __init__(self) -> None:
        key = secrets.token_bytes(32)
        self._ids = _Seen(key)
        self._payments = _Seen(key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ids.close()
        self._payments.close()

    def add_ids(self, ids: Sequence[tuple[int, str]]) -> None:
        """Remember lines and their ids.

        Args:
            ids: in the order of the file.

        Raises:
            CommandError: there is no room for temporary files.
        """
        self._ids.add(ids)

    def add_payments(self, payments: Sequence[tuple[int, Command]]) -> None:
        """Remember lines and whom they pay how much; else as `add_ids`."""
        self._payments.add(
            [
                (line, f"{command.msisdn}|{command.amount_minor}|{command.currency}")
                for line, command in payments
            ]
        )

    def same_ids(self) -> Iterator[tuple[int, int]]:
        """Yield each line whose id stood there before, and the first line with it, unordered."""
        return self._ids.repeated()

    def same_payments(self) -> Iterator[tuple[int, int]]:
        """Yield each line whose payment stood there before, as `same_ids` does."""
        return self._payments.repeated()


class _Seen:
    """Digests and their lines, divided by the digest's first byte.

    Equal ones are in the same part, so that one part after the other can be gone through, in
    memory for one part only and without an index that each of them is looked up in.
    """

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(digest_size=16, key=key)
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(_PARTS)]
        self._held = 0
        self._file: BinaryIO | None = None

    def add(self, contents: Sequence[tuple[int, str]]) -> None:
        parts, keyed, record = self._parts, self._keyed.copy, _RECORD.pack
        for line, content in contents:
            running = keyed()
            running.update(content.encode(errors="surrogatepass"))
            digest = running.digest()
            parts[digest[0]] += record(digest, line)
        self._held += len(contents) * _RECORD.size
        if self._held * 2 > _MOST_HELD:  # There are two of this kind.
            self._put_out()

    def repeated(self) -> Iterator[tuple[int, int]]:
        for part in range(_PARTS):
            firsts: dict[bytes, int] = {}
            for digest, line in self._records(part):
                first = firsts.setdefault(digest, line)
                if first != line:
                    yield line, first

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _put_out(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
            for part, pieces in zip(self._parts, self._pieces, strict=True):
                pieces.append((self._file.tell(), len(part)))
                self._file.write(part)
                part.clear()
            self._file.flush()
        except OSError as error:
            raise CommandError(
                f"{tempfile.gettempdir()}: {os.strerror(error.errno or 0)}. A large file needs 50"
                " bytes there for each row; TMPDIR names another folder."
            ) from None
        self._held = 0

    def _records(self, part: int) -> Iterator[tuple[bytes, int]]:
        pieces = (self._piece(*piece) for piece in self._pieces[part])
        for piece in chain(pieces, (bytes(self._parts[part]),)):
            yield from _RECORD.iter_unpack(piece)

    def _piece(self, begin: int, length: int) -> bytes:
        if self._file is None:
            return b""
        self._file.seek(begin)
        return self._file.read(length)
