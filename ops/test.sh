#!/usr/bin/env bash
# The whole check: ruff, mypy, import contracts, every test with coverage, on private servers.
# With arguments, only pytest runs, with these arguments: ops/test.sh tests/unit -k money
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
exec .venv/bin/python -m ops.quality "$@"
