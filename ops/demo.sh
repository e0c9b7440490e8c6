#!/usr/bin/env bash
# 1,000 payouts, from a CSV file to completion events, on private servers. Options: --help
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
exec .venv/bin/python -m ops.demo "$@"
