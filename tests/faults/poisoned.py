"""A worker that some commands kill: the product's own, but for how it decodes those.

A body that holds `die-` ends the process as a crash in a library would; one that holds `fail-`
raises what nobody expects. Without a lasting remedy both come back to their queue for ever.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping

import worker.commands
from payouts.messaging.codec import decode_command
from worker.app import run


class UnexpectedError(Exception):
    """Nothing in the product knows this error."""


def decode(body: bytes) -> Mapping[str, object]:
    """Decode a body, or suffer from it."""
    if b'"die-' in body:
        os.kill(os.getpid(), signal.SIGKILL)
    if b'"fail-' in body:
        raise UnexpectedError
    return decode_command(body)


if __name__ == "__main__":
    worker.commands.decode_command = decode  # type: ignore[attr-defined]
    raise SystemExit(run())
