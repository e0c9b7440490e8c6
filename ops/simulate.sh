#!/usr/bin/env bash
# Plays worlds: the real services, every fault, an independent auditor. Prints what was seen.
#   ops/simulate.sh                       50,000 seeds of 20 payouts, on all processors
#   ops/simulate.sh --seeds 0:2000        other seeds; all options: ops/simulate.sh --help
#   ops/simulate.sh --seed 17 --trace     one seed, with its whole story
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
exec nice .venv/bin/python -m tests.simulation --seeds 0:50000 --jobs "$(nproc)" "$@"
