"""Which deliveries to acknowledge, and in how few frames. Free of AMQP and of time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One `basic.ack`: this tag, and with `multiple` all open tags below it."""

    tag: int
    multiple: bool


class Acknowledgements:
    """Gathers finished tags of one channel; the longest run from the bottom takes one frame.

    A tag that is slow holds the ones above it back, at most `held` of them: then they are
    acknowledged one by one, so that a stuck delivery never uses up the prefetch.

    Args:
        held: how many finished tags may wait behind a gap.
    """

    def __init__(self, *, held: int) -> None:
        self._held = held
        self._lowest = 1  # Every tag below is settled.
        self._done: set[int] = set()
        self._settled: set[int] = set()

    def done(self, tag: int) -> None:
        """Note that a delivery is to be acknowledged."""
        self._done.add(tag)

    def settled(self, tag: int) -> None:
        """Note that a delivery was given back; RabbitMQ must not hear of its tag again."""
        self._settled.add(tag)

    def take(self) -> list[Acknowledgement]:
        """Return the acknowledgements to send now; each tag is returned once."""
        taken = self._take_run()
        if len(self._done) > self._held:
            taken += [Acknowledgement(tag, multiple=False) for tag in sorted(self._done)]
            self._settled |= self._done
            self._done.clear()
        return taken

    def _take_run(self) -> list[Acknowledgement]:
        highest = 0
        count = 0
        while True:
            if self._lowest in self._done:
                self._done.remove(self._lowest)
                highest = self._lowest
                count += 1
            elif self._lowest in self._settled:
                self._settled.remove(self._lowest)
            else:
                break
            self._lowest += 1
        return [Acknowledgement(highest, multiple=count > 1)] if count else []
