"""The demo's payouts: invented people, test numbers, the same file each time.

`ops/examples/salaries.csv` is `write` with 1,000 rows; a test compares the two. Ordinary receivers
are 2547000 02000 and up; the others are numbers at which the simulator misbehaves, told in the
table of its reference page. None of them is anybody's: the whole block is the test bed's.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from ops.simulator.numbers import SERIES

HEADER: Final = ("payout_id", "msisdn", "amount", "command_id", "remark", "metadata.name")
SHIPPED: Final = 1000
_FIRST_RECEIVER: Final = 254700002000
_SEED: Final = 2026
_FIRST: Final = (
    *("Achieng", "Amani", "Baraka", "Chebet", "Chege", "Dalila", "Ekai", "Faraji", "Furaha"),
    *("Imani", "Jabali", "Kamau", "Kerubo", "Lulu", "Makena", "Mumbi", "Neema", "Njeri"),
    *("Otieno", "Pendo", "Rehema", "Sanaa", "Taji", "Upendo", "Wambui", "Zawadi"),
)
_LAST: Final = (
    *("Barasa", "Cherono", "Gathoni", "Hamisi", "Juma", "Karanja", "Kiptoo", "Lagat", "Maina"),
    *("Moraa", "Mutua", "Mwangi", "Naliaka", "Ndungu", "Nyambura", "Odhiambo", "Okello", "Ouma"),
    *("Rotich", "Simiyu", "Wafula", "Wanjala", "Were", "Yego"),
)

# Two digits of a test number, and how many people of 1,000 have it. Left out is what leaves work
# to a person (06, 07, 08, 18, 59, 98) or has the account paused (codes of class configuration).
UNUSUAL: Final = (
    *((1, 3), (2, 3), (3, 3), (4, 3), (5, 1), (9, 1), (10, 3), (11, 3), (12, 2), (14, 2)),
    *((40, 1), (41, 1), (42, 1), (43, 1), (46, 1), (47, 1), (48, 1), (49, 1), (50, 1), (51, 1)),
    *((52, 1), (53, 2), (54, 1), (55, 1), (56, 1), (57, 1), (60, 2), (61, 1)),
    *((62, 1), (63, 1), (64, 1), (65, 1), (66, 1), (67, 1), (68, 1), (69, 1)),
    *((20, 1), (71, 1), (72, 1), (73, 2), (76, 3), (77, 2), (79, 1), (83, 2), (85, 1), (96, 1)),
)


def rows(count: int = SHIPPED) -> Iterator[Sequence[str]]:
    """Yield `count` rows below the header; the same ones each time."""
    chance = random.Random(_SEED)  # noqa: S311 - invented salaries
    unusual = [f"{SERIES}{digits:02}" for digits, people in UNUSUAL for _ in range(people)]
    places = sorted(chance.sample(range(count), min(len(unusual), count)))
    chance.shuffle(unusual)
    misbehaving = dict(zip(places, unusual, strict=False))
    for number in range(count):
        shillings = chance.randint(120, 900) * 100
        cents = chance.choice((0, 0, 0, 50, 25, 75))
        yield (
            f"salary-2026-11-{number + 1:04}",
            misbehaving.get(number, str(_FIRST_RECEIVER + number)),
            f"{shillings}.{cents:02}",
            "SalaryPayment",
            "Salary November 2026",
            f"{chance.choice(_FIRST)} {chance.choice(_LAST)}",
        )


def write(file: TextIO, count: int = SHIPPED) -> None:
    """Write the header and `count` rows as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows(count))
