"""The second pass over a file: what is new is published, confirmed and noted in the journal."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ops.cli.exits import CommandError
from ops.cli.sending.check import BATCH, batches_of
from ops.cli.sending.csv_file import ChangedError, CsvFile, Row
from ops.cli.sending.interruption import Stop
from ops.cli.sending.journal import Journal
from ops.cli.sending.rows import RowReader
from ops.cli.words import count
from payouts.domain.errors import BrokerUnavailableError, UnroutableError
from payouts.messaging import CommandStream, Outgoing, encode_command

FLIGHTS: Final = 8
# So many rows may have been published beyond what the journal tells, whatever kills the command.
WINDOW: Final = FLIGHTS * BATCH


class StoppedError(CommandError):
    """A signal asked to stop, and it did so in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight:
    """A batch that was published and is not noted as confirmed yet.

    Args:
        published: how many commands were published before it.
        places: which row of the file each of its commands is, counted from 1.
        rows: the last row of the batch.
    """

    published: int
    places: Sequence[int]
    rows: int

    @property
    def end(self) -> int:
        """How many commands were published with it."""
        return self.published + len(self.places)

    def rows_at(self, confirmed: int) -> int | None:
        """Return how many rows are done once so many commands are; None: nothing of it is."""
        if confirmed >= self.end:
            return self.rows
        within = confirmed - self.published
        return self.places[within - 1] if within > 0 else None


@dataclass(slots=True)
class Published:
    """How far the publishing has come: commands that are confirmed."""

    published: int = 0


@dataclass(slots=True, kw_only=True)
class Publication:
    """Publishes what is new of a file, from where its journal stands.

    Args:
        file: the file, checked before.
        reader: makes commands of its rows.
        stream: to RabbitMQ.
        known: a byte for each row of the file; 1 where the database knew it when it was checked,
            which is then not published.
        journal: begun; it is told how many rows are done, in order.
    """

    file: CsvFile
    reader: RowReader
    stream: CommandStream
    known: Sequence[int]
    journal: Journal
    _flights: deque[Flight] = field(default_factory=deque)

    async def run(self, advance: Callable[[int], None], stop: Stop) -> Published:
        """Return once every row that is not known is confirmed by RabbitMQ.

        Raises:
            StoppedError: `stop` was asked for; all that was published is confirmed and noted.
            CommandError: it was stopped on the way; it says how far it came. Sending the same
                file again is safe, as each command keeps its payout id.
        """
        try:
            done = await self._publish(advance, stop)
            await self._settle(0)
        except (BrokerUnavailableError, UnroutableError) as error:
            self._note_confirmed()
            raise CommandError(
                f"{error} {count(self.stream.confirmed)} payouts were published for certain. Send"
                " the same file again when that is put right: nothing is sent twice."
            ) from None
        except BaseException:
            self._note_confirmed()
            raise
        if done < len(self.known):
            raise self._stopped(done, stop)
        return Published(self.stream.confirmed)

    async def _publish(self, advance: Callable[[int], None], stop: Stop) -> int:
        """Publish until the end of the file or until asked to stop; return the last row."""
        begin = self.journal.standing.rows
        last = 0
        try:
            for rows in batches_of(self.file):
                first, last = last, last + len(rows)
                advance(len(rows))
                if last <= begin:
                    continue
                if stop.asked:
                    return max(first, begin)
                if not self.file.unchanged():
                    raise ChangedError("The file was changed.")  # noqa: TRY301 - told below
                skipped = max(0, begin - first)
                await self._publish_batch(rows[skipped:], first + skipped)
        except ChangedError:
            await self._settle(0)
            raise CommandError(
                f"The file was changed while it was being sent, after"
                f" {count(self.stream.confirmed)} payouts were published. Look at it, then send it"
                " again."
            ) from None
        return last

    async def _publish_batch(self, rows: Sequence[Row], first: int) -> None:
        """Publish the rows that are not known; `first` rows come before them."""
        places = [
            place
            for place, known in enumerate(self.known[first : first + len(rows)], first + 1)
            if not known
        ]
        commands = [outgoing(self.reader, rows[place - first - 1]) for place in places]
        if len(self._flights) == FLIGHTS:
            await self._settle(FLIGHTS // 2)
        flight = Flight(published=self.stream.published, places=places, rows=first + len(rows))
        self._flights.append(flight)
        if commands:
            await self.stream.publish(commands)

    async def _settle(self, most: int) -> None:
        """Wait until at most so many flights are unconfirmed, and note the rest."""
        rows = None
        while len(self._flights) > most:
            await self.stream.settle(self._flights[0].end)
            rows = self._flights.popleft().rows
        if rows is not None:
            await asyncio.to_thread(self.journal.note, rows)

    def _note_confirmed(self) -> None:
        """Note what is confirmed by now, row by row; nothing more is published."""
        confirmed = self.stream.confirmed
        found = [flight.rows_at(confirmed) for flight in self._flights]
        rows = max((one for one in found if one is not None), default=0)
        if rows > self.journal.standing.rows:
            self.journal.note(rows)

    def _stopped(self, done: int, stop: Stop) -> StoppedError:
        self.journal.note(done, stopped=True)
        error = StoppedError(
            f"Stopped after {count(done)} of {count(len(self.known))} rows; all that was published"
            " is confirmed. Send the same file again: it goes on from there."
        )
        error.status = 128 + (stop.signal or 0)
        return error


def outgoing(reader: RowReader, row: Row) -> Outgoing:
    """Return the command of a row that was checked."""
    fields = reader.fields(row)
    return Outgoing(str(fields["account"]), encode_command(fields), str(fields["payout_id"]))
