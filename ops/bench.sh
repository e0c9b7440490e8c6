#!/usr/bin/env bash
# Throughput, CPU, memory and latency of this system beside those of other stacks. Options: --help
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
bash "$project/ops/bench/environment.sh" # The other stacks and the chart.
cd "$project"
exec .venv/bin/python -m ops.cli bench "$@"
