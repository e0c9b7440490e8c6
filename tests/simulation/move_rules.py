"""The auditor's rules for what starts a send, and for what ends a payout."""

from __future__ import annotations

from payouts.domain.payout import Payout
from tests.simulation.laws import PAID
from tests.simulation.memory import SLACK_S, Memory


class MoveRules(Memory):
    """Judges claims, resends and ends (invariants 1, 3 and 4)."""

    def _judge_claim(self, by: str, before: Payout | None, after: Payout) -> None:
        """Judge an intent to send, of whatever kind (invariants 1 and 4)."""
        payout_id = after.payout_id
        attempts = 0 if before is None else before.attempts
        if after.attempts != attempts + 1:
            self._report(1, f"{payout_id} is sent without a new attempt")
        if after.held is not None or (before is not None and before.held is not None):
            self._report(4, f"{payout_id} is sent while it is held")
        books = self._own_books()
        account = books.accounts.get(after.account)
        if (account is not None and account.paused) or after.run_id in books.runs_paused:
            self._report(4, f"{payout_id} is sent while its account or its run is paused, by {by}")
        unsent = before is None or before.submitted_at is None
        if (
            unsent
            and after.not_after is not None
            and (after.claimed_at or after.not_after) > (after.not_after)
        ):
            self._report(3, f"{payout_id} is sent although it had expired")
        if after.originator_conversation_id in self._unmatched:
            self._report(4, f"{payout_id} is sent although a Result for its id has come")
        if after.retry_of is not None and after.retry_of in self._contradicted:
            self._report(4, f"{payout_id} is sent although its first is contradicted")
        if before is None:
            self._judge_repeat(after)
        elif before.state.value == "in_doubt":
            self._judge_resend(before)

    def _judge_repeat(self, row: Payout) -> None:
        """Ask for a person's word where a new payout looks like another one."""
        window_s = self._scenario.repeat_window_s
        for name in self._alike[row.msisdn, row.amount_minor]:
            other = self.rows.get(name)
            if other is None or name == row.payout_id or other.state.value == "failed":
                continue
            if window_s and (row.created_at - other.created_at).total_seconds() < window_s:
                self._report(4, f"{row.payout_id} is sent although it looks like {name}")

    def _judge_resend(self, before: Payout) -> None:
        """Ask for the proof, counted by our own clock: what is in doubt is not guessed."""
        payout_id, own_id = before.payout_id, before.originator_conversation_id
        slack_s = SLACK_S + 2 * max(map(abs, self._scenario.skews_s))
        sent_s = self.truth.last_sent_s.get(own_id, 0.0)
        since_s = sent_s + float(str(self._settings["not_found_grace_s"])) - slack_s
        apart_s = float(str(self._settings["query_interval_s"])) - slack_s
        seen_s = self._seen_s.get(own_id, float("-inf"))
        counted = [
            one.asked_s
            for one in self._counted[payout_id]
            if one.asked_s >= since_s and one.written_s > seen_s
        ]
        proved = (
            len(counted) > 1
            and self.truth.not_found[own_id] > 1
            and counted[-1] - counted[0] >= apart_s
            and not before.queued
        )
        if proved:
            return
        if not self._scenario.resends:
            self._report(4, f"{payout_id} is sent again without proof")
        elif before.reason is not None and before.reason.klass == "duplicate":
            self._report(4, f"{payout_id} is sent again although the gateway knows its id")

    def _judge_end(self, by: str, after: Payout) -> None:
        payout_id, own_id = after.payout_id, after.originator_conversation_id
        source = None if after.reason is None else after.reason.source.value
        if self._root(payout_id) in self._spoiled:
            return
        if after.state.value == "succeeded":
            if not self.truth.paid(own_id):
                self._report(3, f"{payout_id} succeeded, but nothing was paid, by {by}")
            if source == "result" and not any(
                code == PAID and amount in {None, after.amount_minor}
                for code, amount in self._told[own_id]
            ):
                self._report(3, f"{payout_id} succeeded by a Result about another amount")
            return
        if self.truth.paid(own_id):
            self._report(3, f"{payout_id} failed, but it was paid, by {by}")
        code = None if after.reason is None else after.reason.code
        if source is None or (source == "local" and code != "expired"):
            self._report(3, f"{payout_id} failed without proof, by {by}: {code}")
        if source == "local" and self.truth.sends[own_id]:
            self._report(3, f"{payout_id} expired, but it was sent")
