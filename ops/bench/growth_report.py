"""What growth has shown: one document for programs, and from it tables for people."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Final

from ops.bench.probes import Timed

# A call grows if it reads clearly more rows than on empty books. Times are told, not judged:
# a busy machine would judge them.
_MORE_ROWS: Final = 1.5
_SOME_ROWS: Final = 200
_MIB: Final = 1 << 20

Document = dict[str, Any]
Sizes = Mapping[str, tuple[str, int, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What archiving a part has cost; `bytes` are of the archive with its indexes."""

    payouts: int
    seconds: float
    longest_batch_s: float
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """The same calls on empty books and on so many ended payouts, and the sizes of both."""

    payouts: int
    rounds: int
    filled_s: float
    empty: Sequence[Timed]
    full: Sequence[Timed]
    empty_bytes: Sizes
    full_bytes: Sizes
    archived: Archived


def documented(found: Growth) -> Document:
    """Return all figures, ready for JSON."""
    before = {one.name: one for one in found.empty}
    added = {
        name: size - found.empty_bytes.get(name, ("", 0, False))[1]
        for name, (_, size, _) in found.full_bytes.items()
    }
    return {
        "machine": {"cores": os.cpu_count(), "system": platform.platform(terse=True)},
        "payouts": found.payouts,
        "rounds": found.rounds,
        "filled_s": found.filled_s,
        "bytes_per_payout": sum(added.values()) / found.payouts,
        "sizes": [
            {
                "name": name,
                "kind": "index" if kind == "i" else "table",
                "partial": partial,
                "bytes": size,
                "bytes_per_payout": added[name] / found.payouts,
            }
            for name, (kind, size, partial) in sorted(
                found.full_bytes.items(), key=lambda one: -one[1][1]
            )
            if size
        ],
        "calls": [_call(before[one.name], one, found.full_bytes, added) for one in found.full],
        "archived": asdict(found.archived),
    }


def growing(document: Document) -> list[str]:
    """Return the calls that read more rows the more payouts have ended."""
    return [one["name"] for one in document["calls"] if one["grows"]]


def _call(empty: Timed, full: Timed, sizes: Sizes, added: Mapping[str, int]) -> Document:
    rows = (empty.plan.rows, full.plan.rows)
    return {
        "name": full.name,
        "empty_ms": median(empty.ms),
        "full_ms": median(full.ms),
        "ratio": median(full.ms) / median(empty.ms),
        "empty_rows_read": rows[0],
        "full_rows_read": rows[1],
        "grows": rows[1] > rows[0] * _MORE_ROWS + _SOME_ROWS,
        "read_whole": sorted(full.plan.whole),
        "small_indexes": sorted(_of(full, sizes, added, small=True)),
        "keys": sorted(_of(full, sizes, added, small=False)),
    }


def _of(call: Timed, sizes: Sizes, added: Mapping[str, int], *, small: bool) -> Iterable[str]:
    """Give the call's indexes that have stayed small, or those that have grown."""
    for name in call.plan.indexes:
        if name in sizes and (added[name] < _MIB) is small:
            yield name


def markdown(document: Document) -> str:
    """Return the document as tables."""
    payouts = document["payouts"]
    lines = [
        (
            f"| call | empty, ms | {payouts:,} ended, ms | ratio | rows read"
            " | indexes that stay small | indexes that grow |"
        ),
        "| --- | ---: | ---: | ---: | ---: | --- | --- |",
    ]
    for one in document["calls"]:
        grows = " (grows)" if one["grows"] else ""
        lines.append(
            f"| {one['name']}{grows} | {one['empty_ms']:.1f} | {one['full_ms']:.1f}"
            f" | {one['ratio']:.2f} | {one['empty_rows_read']:,} → {one['full_rows_read']:,}"
            f" | {_names(one['small_indexes'])} | {_names(one['keys'])} |"
        )
    lines += [
        "",
        "| table or index | MiB | bytes for each payout |",
        "| --- | ---: | ---: |",
        *(
            f"| `{one['name']}` | {one['bytes'] / _MIB:,.1f} | {one['bytes_per_payout']:,.0f} |"
            for one in document["sizes"]
            if one["bytes"] >= _MIB
        ),
        f"| all | | {document['bytes_per_payout']:,.0f} |",
        "",
        _archived(document["archived"]),
    ]
    return "\n".join(lines) + "\n"


def _archived(one: Document) -> str:
    if not one["payouts"]:
        return "Nothing was archived."
    return (
        f"{one['payouts']:,} payouts were archived at {one['payouts'] / one['seconds']:,.0f}/s, the"
        f" longest batch in {one['longest_batch_s'] * 1000:,.0f} ms; an archived one takes"
        f" {one['bytes'] / one['payouts']:,.0f} bytes."
    )


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
