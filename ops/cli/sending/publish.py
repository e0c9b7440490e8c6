"""The second pass over a file: what is new is published, each command until it is confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ops.cli.exits import CommandError
from ops.cli.sending.check import Existing, Numbered, batches_of
from ops.cli.sending.csv_file import CsvFile
from ops.cli.sending.rows import RowReader
from ops.cli.words import count
from payouts.domain.errors import PayoutsError
from payouts.messaging.codec import encode_command
from payouts.messaging.publisher import CommandPublisher


@dataclass(slots=True)
class Published:
    """How far the publishing has come."""

    published: int = 0
    skipped: int = 0


async def publish_rows(
    file: CsvFile,
    reader: RowReader,
    publisher: CommandPublisher,
    existing: Existing,
    advance: Callable[[int], None],
) -> Published:
    """Return once every row is either known to the database or confirmed by RabbitMQ.

    Raises:
        CommandError: it was stopped on the way; it says how far it came. Sending the same
            file again is safe, as each command keeps its payout id.
    """
    done = Published()
    for batch in batches_of(file, reader):
        if batch is None or not file.unchanged():
            raise CommandError(
                f"The file was changed while it was being sent, after {count(done.published)}"
                " payouts were published. Look at it, then send it again."
            )
        known = await existing([one.payout_id for _, one, _ in batch])
        fresh = [one for one in batch if one[1].payout_id not in known]
        confirmed = await _publish_batch(fresh, publisher, done)
        done.published += confirmed
        done.skipped += len(batch) - len(fresh)
        advance(len(batch))
    return done


async def _publish_batch(
    batch: Sequence[Numbered], publisher: CommandPublisher, done: Published
) -> int:
    outcomes = await asyncio.gather(
        *(
            publisher.publish(command.account, encode_command(fields), message_id=command.payout_id)
            for _, command, fields in batch
        ),
        return_exceptions=True,
    )
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if not failures:
        return len(outcomes)
    first = failures[0]
    if not isinstance(first, PayoutsError):
        raise first
    certain = done.published + len(outcomes) - len(failures)
    raise CommandError(
        f"{first} {count(certain)} payouts were published for certain. Send the same file again"
        " when that is put right: nothing is sent twice."
    )
