"""What aiohttp would log of strangers' requests: counted, without a word of their content."""

from __future__ import annotations

import logging
import traceback
from typing import Final

from aiohttp.http import HttpProcessingError
from aiohttp.web import RequestPayloadError

from payouts.domain.signals import Signal
from payouts.ports import Telemetry

_STRANGERS: Final = (HttpProcessingError, RequestPayloadError)


class Complaints(logging.Logger):
    """The logger of aiohttp's server.

    What is no HTTP is a signal; its text would repeat headers of the request. An error of our
    own handlers is logged with its kind and its places in the code.
    """

    def __init__(self, telemetry: Telemetry) -> None:
        super().__init__("callback_server.http")
        self.parent = logging.getLogger()
        self._telemetry = telemetry

    def exception(self, msg: object, *args: object, **kwargs: object) -> None:
        """Take what aiohttp found."""
        del msg, args  # They name the sender.
        error = kwargs.get("exc_info")
        if isinstance(error, tuple):
            error = error[1]
        if isinstance(error, _STRANGERS):
            self._telemetry.emit(
                Signal.RESULT_REFUSED, kind="http", status=400, detail="It is not HTTP.", size=0
            )
        elif isinstance(error, BaseException):
            places = "".join(traceback.format_tb(error.__traceback__))
            self.error("%s while handling a request\n%s", type(error).__name__, places)
        else:
            self.error("A request could not be handled.")
