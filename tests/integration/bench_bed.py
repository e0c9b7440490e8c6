"""Runs a benchmark as a person would, and reads what it tells programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from ops.demo.children import ROOT


def told_by(name: str, *options: str, output: Path) -> dict[str, Any]:
    """Return what `payouts bench NAME` told; its file in `output` says the same."""
    done = subprocess.run(  # noqa: S603 - our own program
        [
            *(sys.executable, "-m", "ops.cli", "bench", name, *options),
            *("--json", "--output", str(output)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    assert told == json.loads((output / f"{name}.json").read_text(encoding="utf-8"))
    return told
