#!/usr/bin/env bash
# Makes this machine ready for ops/demo.sh and ops/test.sh: the virtual environment `.venv` from
# requirements.lock (hashes checked), RabbitMQ and PostgreSQL as programs. Says nothing where there
# is nothing to do. No system service is started, stopped or changed, but one: where this script
# itself installs RabbitMQ, the package's service is kept from starting, now and at boot.
#
# PYTHON=/path/to/python3.12 chooses the interpreter. Exit 2: something is needed from you.
set -euo pipefail

project="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$project"
environment="$project/.venv"
stamp="$environment/.payouts-setup"
# Servers stand in sbin, which is not on the path of ordinary users.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin:/opt/homebrew/sbin"

say() { printf '==> %s\n' "$*" >&2; }
need() {
    printf 'setup: %s\n' "$@" >&2
    exit 2
}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null && fits "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    need "Python 3.11 or newer is needed and was not found." \
        "Install it (Debian 12, Ubuntu 24.04 and later: apt-get install python3 python3-venv)," \
        "or name one: PYTHON=/path/to/python3.12 $0"
}

has_rabbitmq() {
    [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || command -v rabbitmq-server >/dev/null
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian asks this program before a package starts its service; 101 means no.
policy=/usr/sbin/policy-rc.d
policy_made=

forbid_services() {
    if [ ! -e "$policy" ]; then
        policy_made=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
}

allow_services() {
    if [ -n "$policy_made" ]; then
        as_root rm -f "$policy"
        policy_made=
    fi
}

# Packages tell a lot while they are set up; it is shown when one of them fails.
apt_quietly() {
    mkdir -p .local
    as_root env DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes "$@" >.local/apt.log 2>&1
}

apt_install() { apt_quietly install --no-install-recommends "$@"; }

install_packages() {
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        need "Packages are missing and there is no sudo. As root:" \
            "    apt-get install --no-install-recommends $*" \
            "then run this again."
    fi
    say "Installing with apt-get: $*"
    [ "$(id -u)" = 0 ] || say "(sudo may ask for your password)"
    trap allow_services EXIT
    forbid_services
    if ! apt-cache show "$@" >/dev/null 2>&1 || ! apt_install "$@"; then
        say "Reading the list of packages anew"
        if ! apt_quietly update || ! apt_install "$@"; then
            tail -n 30 .local/apt.log >&2
            need "apt-get could not install: $*"
        fi
    fi
    allow_services
    trap - EXIT
    case " $* " in *" rabbitmq-server "*)
        # Its data would lie idle beside ours. Nobody had it before, so nobody misses it.
        as_root systemctl disable --quiet rabbitmq-server 2>/dev/null || true
        say "RabbitMQ's system service was not started, and does not start at boot."
        say "(to have it: systemctl enable --now rabbitmq-server)"
        ;;
    esac
}

get_programs() {
    local python="$1" missing=()
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=("$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
    fi
    has_rabbitmq || missing+=(rabbitmq-server)
    [ ${#missing[@]} -gt 0 ] || return 0
    if command -v apt-get >/dev/null; then
        install_packages "${missing[@]}"
        return
    fi
    need "Needed and not found: ${missing[*]}" \
        "macOS: brew install rabbitmq" \
        "Fedora, RHEL: dnf install rabbitmq-server, or the packages of the RabbitMQ project" \
        "elsewhere: https://www.rabbitmq.com/docs/download (3.10 or newer, with Erlang's epmd)" \
        "There is no need to start it: demo and tests start a node of their own."
}

fingerprint() {
    "$1" - requirements.lock pyproject.toml "$project" <<'PYTHON'
import hashlib, sys
digest = hashlib.sha256(sys.version.encode())
for name in sys.argv[1:3]:
    with open(name, "rb") as file:
        digest.update(file.read())
digest.update(sys.argv[3].encode())
print(digest.hexdigest())
PYTHON
}

make_environment() {
    local python="$1"
    if [ ! -x "$environment/bin/python" ] || ! fits "$environment/bin/python"; then
        say "Making the virtual environment with $("$python" --version)"
        "$python" -m venv --clear "$environment"
    fi
    local now
    now="$(fingerprint "$environment/bin/python")"
    if [ "$(cat "$stamp" 2>/dev/null || true)" = "$now" ]; then
        return
    fi
    local pip=("$environment/bin/python" -m pip --disable-pip-version-check --quiet)
    say "Installing Python packages from requirements.lock"
    "${pip[@]}" install --require-hashes --requirement requirements.lock
    say "Installing this project"
    "${pip[@]}" install --no-deps --editable .
    "$environment/bin/python" -m ops.local check >/dev/null || exit 2
    printf '%s\n' "$now" >"$stamp"
    say "Ready after $SECONDS s"
}

python="$(find_python)" || exit 2
get_programs "$python"
if command -v flock >/dev/null; then
    # Two runs at once: the second waits and then finds all done.
    mkdir -p .local
    exec 9>.local/setup.lock
    flock 9
fi
make_environment "$python"
