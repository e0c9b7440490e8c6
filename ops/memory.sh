#!/usr/bin/env bash
# Memory of worker and callback server with a million commands waiting. Options: --help
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
exec .venv/bin/python -m tests.faults.memory "$@"
