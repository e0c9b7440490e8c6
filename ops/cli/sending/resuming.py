"""Where a sending goes on: finds the journal of a file, and refuses what was changed meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ops.cli.exits import CommandError
from ops.cli.sending.journal import SUFFIX, Errand, Journal, Standing, read
from ops.cli.words import count, moment


def broker_of(amqp_url: str, prefix: str) -> str:
    """Return how a broker is told apart from others, without user and password."""
    parts = urlsplit(amqp_url)
    port = parts.port or (5671 if parts.scheme == "amqps" else 5672)
    return f"{parts.hostname}:{port}/{unquote(parts.path[1:])} {prefix}"


def find_journal(folder: Path, errand: Errand, *, restart: bool) -> Journal:
    """Return the errand's journal, held if there is one; the folder is there afterwards.

    Args:
        folder: of all journals.
        errand: what is to be sent.
        restart: forget how far this file, or an earlier version of it, has come.

    Raises:
        OSError: the folder cannot be used.
        CommandError: another process is sending this file; or an earlier version of it, or the
            same as another run, was interrupted on its way.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(13, "Permission denied")
    path = folder / errand.name
    for other, begun, standing in _others(folder, errand):
        if not restart:
            raise CommandError(_conflict(errand, begun, standing))
        Journal.discard(other)
    if restart:
        Journal.discard(path)
    return Journal.found(path, errand)


def interrupted(folder: Path, errand: Errand) -> Iterator[tuple[Errand, Standing]]:
    """Yield each interrupted sending of the same file, as the same run, to whatever broker."""
    for _, begun, standing in _journals(folder):
        if (begun.digest, begun.run_id, begun.account) == (
            errand.digest,
            errand.run_id,
            errand.account,
        ):
            yield begun, standing


def _others(folder: Path, errand: Errand) -> Iterator[tuple[Path, Errand, Standing]]:
    """Yield what cannot be meant along with this errand: all to the same broker."""
    for path, begun, standing in _journals(folder):
        if begun.broker != errand.broker or begun.name == errand.name:
            continue
        if errand.digest == begun.digest or errand.file == begun.file:
            yield path, begun, standing


def _journals(folder: Path) -> Iterator[tuple[Path, Errand, Standing]]:
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(OSError, ValueError), path.open("rb") as file:
            told = read(file.fileno())
            if told.errand is not None:
                yield path, told.errand, told.standing


def _conflict(errand: Errand, begun: Errand, standing: Standing) -> str:
    came = f"after {count(standing.rows)} rows ({moment(standing.at)})"
    if errand.digest != begun.digest:
        return (
            f"{errand.file} was changed since its sending, as run {begun.run_id}, was interrupted"
            f" {came}. Put its former content back and send that to its end. If the content of now"
            " is what is to be paid, say --restart; see that no row of it was paid under another"
            " id."
        )
    return (
        f"The sending of this content as run {begun.run_id}, account {begun.account}, was"
        f" interrupted {came}. Send it to its end with --run-id {begun.run_id} and --account"
        f" {begun.account}. If it is to be sent as run {errand.run_id}, account {errand.account},"
        " say --restart; see that no row is paid twice, under two ids."
    )
