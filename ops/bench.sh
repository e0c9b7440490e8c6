#!/usr/bin/env bash
# Throughput, CPU, memory and latency of this system beside those of other stacks. Options: --help
#
#   ops/bench.sh sending    `payouts send` of a million rows, in one go and interrupted
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
if [ "${1:-}" = sending ]; then
    shift
    cd "$project"
    exec .venv/bin/python -m ops.bench.sending "$@"
fi
bash "$project/ops/bench/environment.sh" # The other stacks and the chart.
cd "$project"
exec .venv/bin/python -m ops.cli bench "$@"
