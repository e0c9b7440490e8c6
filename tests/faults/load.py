"""The commands of a round, by seed: mostly good, some of every kind that takes another way."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.faults.evidence import ENDS, PAID, UNPAID, May, Published

ORDINARY: Final = "25471{:07}"
NUMBER: Final = "2547000001{:02}"
STUCK: Final = "stuck"
LATE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trait:
    """What a share of the commands is like.

    Args:
        share: in thousandths.
        number: the simulator's test number, as its two digits; none: an ordinary receiver.
        again: what is published once more when the payout has ended: the same, or a conflict.
    """

    name: str
    share: int
    may: frozenset[May] = PAID
    number: int | None = None
    account: str = "default"
    again: str = ""


PUT_ASIDE: Final = frozenset({May.BE_PUT_ASIDE})
_ANY_LUCK: Final = frozenset({May.SUCCEED, May.STAY_IN_DOUBT})
TRAITS: Final = (
    Trait(name="never", share=30, number=2),
    Trait(name="twice", share=20, number=3),
    Trait(name="early", share=10, number=4),
    # The second Result may come first: the server that took the first one died.
    Trait(name="contradicted", share=15, number=5, may=frozenset({May.SUCCEED, May.BE_LIED_TO})),
    Trait(name="other-amount", share=25, number=7, may=_ANY_LUCK),
    Trait(name="cancelled", share=10, number=9, may=UNPAID),
    Trait(name="busy", share=25, number=14),
    Trait(name="refused", share=10, number=20, may=UNPAID),
    Trait(name="http-500", share=10, number=41),
    Trait(name="html", share=10, number=42),
    Trait(name="lost", share=40, number=52),
    Trait(name="dropped", share=10, number=53),
    Trait(name="slow", share=10, number=54),
    Trait(name="dropped-never", share=20, number=57),
    Trait(name="found-late", share=20, number=58),
    Trait(name="under-way", share=15),
    Trait(name="lost-result", share=10, number=39),
    Trait(name="cached", share=10, number=60),
    Trait(name="lapsed", share=40, number=61),
    Trait(name="sparse", share=5, number=68, may=frozenset({May.SUCCEED, May.LACK_RECEIPT})),
    Trait(name="float-empty", share=10, number=70, may=UNPAID),
    Trait(name="core-error", share=10, number=80, may=UNPAID),
    Trait(name="locked-out", share=50, account="sick"),
    Trait(name="blamed", share=40, number=82, account="sick", may=UNPAID),
    Trait(name="expired", share=10, may=UNPAID),
    Trait(name="expiring", share=30, account="sick", may=ENDS),
    Trait(name="invalid", share=30, may=PUT_ASIDE),
    Trait(name="repeated", share=15, again="same"),
    Trait(name="conflicting", share=15, may=PAID | {May.BE_PUT_ASIDE}, again="other"),
)
LEFT: Final = Trait(name=STUCK, share=1000, may=ENDS | {May.STAY_IN_DOUBT})
# One whose worker dies three times while it is tried alone is taken for poison, here wrongly.
SUSPECTED: Final = Trait(name="suspected", share=1000, may=PAID | {May.BE_PUT_ASIDE})
PLAIN: Final = Trait(name="plain", share=1000 - sum(trait.share for trait in TRAITS))
UNREADABLE: Final = b'{"payout_id": "unreadable'

# The core says of some that they are under way until their Result comes.
# A payment of this account is refused once for the initiator's sake; two in a row pause it.
# About those that are stuck nobody can be asked.
SCRIPT: Final = f"""
[[rule]]
when = {{id = "-under-way$"}}
do = ["drop_answer", "result_late:5", "query_status:Authorized"]

[[rule]]
when = {{id = "-locked-out$", send = 1}}
do = "refuse_before:100000007"

[[rule]]
when = {{id = "-{STUCK}$"}}
do = ["drop_answer", "result_never"]

[[rule]]
when = {{id = "-{STUCK}", operation = "transaction"}}
do = "http_500_before"

[[rule]]
when = {{id = "-{STUCK}", operation = "query"}}
do = "http_500_before"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One message, what its payout may become, and what follows once it has ended."""

    published: Published
    again: bytes | None = None

    @property
    def body(self) -> bytes:
        """Return the message's body; its `not_after` counts from this moment."""
        return _body(self.published)

    @property
    def ends(self) -> bool:
        """Tell whether its payout is sure to end."""
        return May.STAY_IN_DOUBT not in self.published.may and self.published.may != PUT_ASIDE


def commands(seed: int, count: int, traits: Sequence[Trait]) -> Iterator[Command]:
    """Give so many commands, the same for the same seed but for `not_after`."""
    draws = random.Random(f"load {seed}")  # noqa: S311 - a reproducible load
    weights = [trait.share for trait in traits]
    for number in range(count):
        yield _command(seed, number, draws.choices(traits, weights)[0])


def with_more_of(names: Sequence[str], traits: Sequence[Trait]) -> list[Trait]:
    """Return the traits with shares such that half of the commands have one of these."""
    if not names:
        return list(traits)
    rest = sum(trait.share for trait in traits if trait.name not in names)
    share = max(1, rest // len(names))
    return [replace(trait, share=share) if trait.name in names else trait for trait in traits]


def _command(seed: int, number: int, trait: Trait) -> Command:
    cents = number % 100
    amount = "0.00" if trait.name == "invalid" else f"{100 + number // 100}.{cents:02}"
    receiver = ORDINARY.format(number) if trait.number is None else NUMBER.format(trait.number)
    published = Published(
        payout_id=f"{seed}-{number}-{trait.name}",
        amount=amount,
        msisdn=receiver,
        account=trait.account,
        may=trait.may,
    )
    again = None
    if trait.again == "same":
        again = _body(published)
    elif trait.again == "other":
        again = _body(replace(published, amount="99.00"))
    return Command(published=published, again=again)


def _body(published: Published) -> bytes:
    fields = json.loads(published.body())
    ahead_s = {"expired": -1.0, "expiring": LATE_S}.get(published.payout_id.split("-", 2)[2])
    if ahead_s is not None:
        fields["not_after"] = (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()
    return json.dumps(fields).encode()
