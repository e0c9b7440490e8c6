#!/usr/bin/env bash
# Memory of worker and callback server with a million commands waiting. Options: --help
#
#   ops/memory.sh stalls    while PostgreSQL, RabbitMQ and the gateway stand still for a minute each
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
if [ "${1:-}" = stalls ]; then
    shift
    exec .venv/bin/python -m tests.faults.stalls "$@"
fi
exec .venv/bin/python -m tests.faults.memory "$@"
