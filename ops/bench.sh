#!/usr/bin/env bash
# Throughput, CPU, memory and latency of this system beside those of other stacks. Options: --help
#
#   ops/bench.sh sending    `payouts send` of a million rows, in one go and interrupted
#   ops/bench.sh all        every figure of docs/explanation, one after the other: some two hours,
#                           and 40 GB of disk; results below .local/bench/all
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
if [ "${1:-}" != all ]; then
    exec .venv/bin/python -m ops.cli bench "$@"
fi

results="$project/.local/bench/all"
mkdir -p "$results"
failed=()
# Goes on whatever one of them says, and tells at the end.
measure() {
    local name="$1"
    shift
    printf '\n== %s\n' "$name"
    "$@" 2>&1 | tee "$results/$name.txt" || failed+=("$name")
}
bench() { measure "$1" .venv/bin/python -m ops.cli bench "${@:2}" --output "$results/$1"; }
bench two-stacks --stacks bare,ours --rounds 3 --seconds 8
bench all-stacks --rounds 2 --seconds 8
bench budget budget
bench processes processes
bench pace pace
bench growth growth
bench full full
measure sending .venv/bin/python -m ops.bench.sending
measure memory .venv/bin/python -m tests.faults.memory
measure stalls .venv/bin/python -m tests.faults.stalls
measure scaling .venv/bin/python -m ops.bench.scaling
if [ "${#failed[@]}" -gt 0 ]; then
    printf '\nNot as they should be: %s\n' "${failed[*]}"
    exit 1
fi
