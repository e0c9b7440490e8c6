#!/usr/bin/env bash
# Fuzzes every parser, guided by coverage; what is found becomes a test. Options: --help
set -euo pipefail
project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
bash "$project/ops/setup.sh"
cd "$project"
if ! .venv/bin/python -c 'import atheris' 2>/dev/null; then
    .venv/bin/python -m pip --disable-pip-version-check --quiet install \
        --require-hashes --requirement requirements-fuzz.lock
fi
exec nice .venv/bin/python -m tests.fuzz "$@"
