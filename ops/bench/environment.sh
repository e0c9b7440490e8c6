#!/usr/bin/env bash
# Makes `.venv-bench` from ops/bench/peers/requirements.lock (hashes checked): the peer stacks and
# the chart. They are measured beside the product and are none of its dependencies, so they get an
# environment of their own. Says nothing where there is nothing to do.
#
# Needs what ops/setup.sh has made: its interpreter makes this environment too, so that all stacks
# run on the same Python.
set -euo pipefail

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
cd "$project"
lock=ops/bench/peers/requirements.lock
stamp=.venv-bench/.made-from

if [ ! -x .venv/bin/python ]; then
    printf 'environment: run ops/setup.sh first\n' >&2
    exit 2
fi
if command -v flock >/dev/null; then
    # Two runs at once: the second waits and then finds all done.
    mkdir -p .local
    exec 9>.local/environment.lock
    flock 9
fi
wanted="$(.venv/bin/python -VV)
$project
$(cksum "$lock")"
if [ -x .venv-bench/bin/python ] && [ "$(cat "$stamp" 2>/dev/null || true)" = "$wanted" ]; then
    exit 0
fi
printf '==> Making .venv-bench from %s\n' "$lock" >&2
# Made anew each time: what an older lock named and this one does not must not stay.
.venv/bin/python -m venv --clear .venv-bench
.venv-bench/bin/python -m pip --disable-pip-version-check --quiet install \
    --require-hashes --requirement "$lock"
printf '%s\n' "$wanted" >"$stamp"
