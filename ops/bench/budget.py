"""What a payout's microseconds are spent on, layer by layer, beside the bare pipeline's.

`payouts bench budget`: as a round of the benchmark, while py-spy looks at worker and callback
server. What it looks for costs the machine time, so throughput is not told.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import uvloop

from ops.bench.drain import drain
from ops.bench.errors import BenchError
from ops.bench.layers import by_layer, shared
from ops.bench.measures import OWN_ROLES
from ops.bench.site import Site, open_site
from ops.bench.stacks import BARE, OURS, PEER_PYTHON, STACKS
from ops.local import LocalStack
from ops.local.processes import plain_environment

SERVERS: Final = "budget"
CONCURRENCY: Final = 100
RATE_HZ: Final = 200
TOGETHER: Final = "together"
_LOOK_S: Final = 0.02
_STOP_WITHIN_S: Final = 20.0
_PY_SPY: Final = PEER_PYTHON.with_name("py-spy")

Tell = Callable[[str], None]
Document = dict[str, Any]
Spent = dict[str, dict[str, dict[str, float]]]  # By stack, by process, by layer: µs a payout.


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """So many payouts for each stack in each round; `output`: where the budget goes."""

    payouts: int
    rounds: int
    output: Path


def run(options: Options, tell: Tell) -> Document:
    """Measure, and write the budget as JSON and as Markdown.

    Raises:
        BenchError: a stack did not do its work, or py-spy did not.
        LocalServerError: something did not start.
    """
    if not _PY_SPY.exists():
        raise BenchError("py-spy is not there; ops/bench.sh budget installs it.")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(measure(options, tell))
    document: Document = {
        "payouts": options.payouts,
        "cores": os.cpu_count(),
        "us": medians(found),
        "rounds": found,
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "budget.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    (options.output / "budget.md").write_text(markdown(document), "utf-8")
    return document


async def measure(options: Options, tell: Tell) -> list[Spent]:
    """Return the microseconds by stack, by process and by layer, of each round."""
    found: list[Spent] = [{} for _ in range(options.rounds)]
    async with LocalStack(SERVERS) as servers:
        for turn, spent in enumerate(found, start=1):
            for name in (BARE, OURS):
                async with open_site(
                    servers, f"budget_{name}_{turn}", concurrency=CONCURRENCY
                ) as site:
                    spent[name] = await _measured(name, site, options.payouts)
                tell(f"round {turn}, {name}: {', '.join(_sums(spent[name]))}")
    return found


def medians(rounds: Sequence[Spent]) -> Spent:
    """Return what a layer cost in the middle of all rounds; TOGETHER is that of the rounds' sums.

    A layer that was not seen in a round cost nothing in it.
    """
    found: Spent = {}
    for name, by_role in rounds[0].items():
        found[name] = {}
        for role in by_role:
            seen = [one[name][role] for one in rounds]
            layers = sorted({layer for one in seen for layer in one})
            found[name][role] = {
                layer: median(one.get(layer, 0.0) for one in seen) for layer in layers
            } | {TOGETHER: median(sum(one.values()) for one in seen)}
    return found


def _sums(by_role: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [f"{role} {sum(layers.values()):,.0f} µs/payout" for role, layers in by_role.items()]


async def _measured(name: str, site: Site, payouts: int) -> dict[str, dict[str, float]]:
    looking = asyncio.create_task(_look(site))
    try:
        drained = await drain(STACKS[name], site, payouts)
        samples = await asyncio.wait_for(looking, _STOP_WITHIN_S)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return {role: shared(by_layer(samples[role]), drained.pace.cpu_us[role]) for role in OWN_ROLES}


async def _look(site: Site) -> dict[str, Sequence[str]]:
    """Return the stacks of both processes, from when they are ready until they end."""
    while not all(site.roots[role] for role in OWN_ROLES):  # noqa: ASYNC110 - the round sets them
        await asyncio.sleep(_LOOK_S)
    found = await asyncio.gather(*(_stacks(site, role) for role in OWN_ROLES))
    return dict(zip(OWN_ROLES, found, strict=True))


async def _stacks(site: Site, role: str) -> Sequence[str]:
    path = site.folder / f"{role.replace(' ', '-')}.stacks"
    process = await asyncio.create_subprocess_exec(
        *(_PY_SPY, "record", "--pid", str(site.roots[role][0]), "--rate", str(RATE_HZ)),
        *("--format", "raw", "--duration", "unlimited", "--output", path),
        env=plain_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not path.exists():
        raise BenchError(f"py-spy could not look at the {role}: {said.decode()[-500:]}")
    return path.read_text(encoding="utf-8").splitlines()


def markdown(document: Document) -> str:
    """Return the budget as a table: a row for each layer, a column for each process."""
    columns = [(name, role) for role in OWN_ROLES for name in (BARE, OURS)]
    spent = [document["us"][name][role] for name, role in columns]
    layers = sorted({layer for one in spent for layer in one} - {TOGETHER})
    lines = [
        "| µs of CPU per payout | "
        + " | ".join(f"{role}, {name}" for name, role in columns)
        + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for layer in layers:
        cells = [f"{one[layer]:,.0f}" if layer in one else "" for one in spent]
        lines.append(f"| {layer} | " + " | ".join(cells) + " |")
    sums = [f"**{one[TOGETHER]:,.0f}**" for one in spent]
    lines.append(f"| **{TOGETHER}** | " + " | ".join(sums) + " |")
    lines += ["", f"{len(document['rounds'])} rounds of both, in turn; medians of each line."]
    return "\n".join(lines) + "\n"
