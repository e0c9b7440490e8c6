#!/usr/bin/env bash
# The whole system on Docker: makes the secrets of docker-compose.yml where they are missing, then
# runs `docker compose` with your arguments (`up --build --detach` where there are none).
#
#   ops/compose.sh && ops/compose.sh ps                # start, and see how all are
#   ops/compose.sh run --rm payouts send /examples/salaries.csv --yes
#   ops/compose.sh down --volumes && rm -r .local/compose   # end, and forget everything
set -euo pipefail

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$project"
secrets="$project/.local/compose"

random() { head -c 24 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# Containers read these files as users of their own, so the files are open, and their folder is not.
write() {
    printf '%s' "$2" >"$secrets/$1"
    chmod 0444 "$secrets/$1"
}

make_secrets() {
    local broker database
    broker="$(random)"
    database="$(random)"
    mkdir -p "$secrets"
    chmod 0700 "$secrets"
    write rabbitmq.conf "$(printf '%s\n' "default_user = payouts" "default_pass = $broker" \
        "disk_free_limit.absolute = 1GB")"$'\n'
    write amqp_url "amqp://payouts:$broker@rabbitmq:5672/%2F"
    write postgres_password "$database"
    write database_url "postgresql://payouts:$database@postgres:5432/payouts"
    write sp_password "$(random)"
    write initiator_password "$(random)"
    touch "$secrets/complete"
}

# Servers keep the password of their first start: new ones beside old volumes would shut us out.
if [ ! -e "$secrets/complete" ]; then
    rm -rf "$secrets"
    make_secrets
    printf 'Secrets were made in %s\n' "$secrets" >&2
fi
if [ "${1:-}" = secrets ]; then
    exit 0
fi
[ $# -gt 0 ] || set -- up --build --detach
exec docker compose "$@"
