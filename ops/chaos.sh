#!/usr/bin/env bash
# Rounds of deaths and faults on private servers, judged. Options: --help
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
exec .venv/bin/python -m tests.faults.chaos "$@"
