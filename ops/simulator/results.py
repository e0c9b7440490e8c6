"""Callbacks: Results and queue time-outs, sent, repeated, and given up in the end."""

from collections.abc import Callable
from typing import Final

from ops.simulator import codes
from ops.simulator.answers import timeout_notice
from ops.simulator.books import Books
from ops.simulator.documents import result
from ops.simulator.faults import Plan
from ops.simulator.records import Conversation
from ops.simulator.sender import Sender
from ops.simulator.settings import SimulatorSettings
from ops.simulator.statistics import Callbacks, MessageLog, Statistics
from ops.simulator.timetable import Timetable

Ended = Callable[[], None]
_LONGEST_WAIT_S: Final = 60.0


def _ignore() -> None:
    """Nobody waits for this delivery."""


class Deliveries:
    """Guarantees that each callback is acknowledged, or repeated `resends` times, then given up."""

    def __init__(
        self,
        settings: SimulatorSettings,
        books: Books,
        statistics: Statistics,
        sender: Sender,
        timetable: Timetable,
    ) -> None:
        self.log = MessageLog(settings.message_log)
        self.statistics = statistics
        self._settings = settings
        self._books = books
        self._sender = sender
        self._timetable = timetable

    def deliver(self, conversation: Conversation, plan: Plan, ended: Ended = _ignore) -> None:
        """Guarantees the Results that `plan` wants; `ended` is called after the first one."""
        if not plan.results:
            self._books.delivered(conversation)
            ended()
            return
        bodies = self._bodies(conversation, plan)

        def finished() -> None:
            self._books.delivered(conversation)
            ended()

        if plan.lost:
            for body in bodies:
                self._log_result(conversation, body)
            finished()
            return
        if plan.contradiction:
            first, second = bodies
            self.send_result(
                conversation, first, lambda: self.send_result(conversation, second, finished)
            )
            return
        for body in bodies[1:]:
            self.send_result(conversation, body)
        self.send_result(conversation, bodies[0], finished)

    def send_result(self, conversation: Conversation, body: bytes, ended: Ended = _ignore) -> None:
        """Guarantees one Result to the conversation's ResultURL, and its repeats."""
        message = self._log_result(conversation, body)
        self._send(conversation.result_url, message, self.statistics.results, ended)

    def _log_result(self, conversation: Conversation, body: bytes) -> bytes:
        self._books.telling(conversation)
        message = self._sender.message(conversation.result_url, body)
        self.log.add(conversation.originator_conversation_id, "submitApiResult", message)
        return message

    def send_timeout(self, conversation: Conversation, request: bytes) -> None:
        """Guarantees notifyQueueTimeout to the request's QueueTimeoutURL, and its repeats."""
        body = timeout_notice(conversation.originator_conversation_id, request)
        message = self._sender.message(conversation.timeout_url, body)
        self.log.add(conversation.originator_conversation_id, "queueTimeOut", message)

        def finished() -> None:
            self._books.delivered(conversation)

        self._send(conversation.timeout_url, message, self.statistics.timeouts, finished)

    def _bodies(self, conversation: Conversation, plan: Plan) -> list[bytes]:
        shape = plan.result_shape or self._settings.core
        if plan.contradiction:
            failure = result(conversation, codes.CORE_ERROR, shape)
            success = result(conversation, "0", shape)
            return [success, failure][:: 1 if plan.contradiction == "success_first" else -1]
        other = "amount" if plan.other_amount else "receiver" if plan.other_receiver else ""
        return [result(conversation, conversation.result_code, shape, other=other)] * plan.results

    def _send(
        self, url: str, message: bytes, count: Callbacks, ended: Ended, repeat: int = 0
    ) -> None:
        def done(acknowledged: bool) -> None:
            if acknowledged:
                count.acknowledged += 1
                ended()
            elif repeat < self._settings.resends:
                count.resent += 1
                wait_s = min(self._settings.resend_delay_s * 2 ** min(repeat, 20), _LONGEST_WAIT_S)
                self._timetable.after(wait_s, self._send, url, message, count, ended, repeat + 1)
            else:
                count.failed += 1
                ended()

        count.sent += 1
        self._sender.post(url, message, done)
