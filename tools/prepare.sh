#!/bin/bash
#    Licensed under the Apache License, Version 2.0 (the "License"); you may
#    not use this file except in compliance with the License. You may obtain
#    a copy of the License at
#
#         http://www.apache.org/licenses/LICENSE-2.0
#
#    Unless required by applicable law or agreed to in writing, software
#    distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
#    WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
#    License for the specific language governing permissions and limitations
#    under the License.

# Install what the project's own commands need, once: system packages of
# bindep.txt (only with the argument "lab") and a virtual environment in .venv.
# Says what is missing before anything is touched. Ran twice, it does nothing.

set -euo pipefail
cd "$(dirname "$0")/.."

readonly POLICY=/usr/sbin/policy-rc.d
readonly SAVED=$POLICY.vmthunder-saved
readonly MARK='# vmthunder: no services while packages are installed'
readonly LOG=$PWD/.cache/prepare.log
readonly SUPPORTED='import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'

log() {
    echo "prepare: $*"
}

fail() {
    printf 'prepare: %s\n' "$@" >&2
    exit 1
}

# Run a command quietly; if it fails, show the end of what it said.
logged() {
    echo "+ $*" >> "$LOG"
    "$@" >> "$LOG" 2>&1 < /dev/null || {
        tail -n 20 "$LOG" >&2
        fail "failed: $*" "The whole log is in $LOG."
    }
}

find_python() {
    local name check=$1
    for name in "${PYTHON:-python3}" python3.11 python3.12 python3.13 \
            /usr/bin/python3; do
        if "$name" -c "$check" 2> /dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}

missing_packages() {
    local package
    sed -e 's/#.*//' bindep.txt | awk 'NF { print $1 }' |
    while read -r package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" \
            = installed ] || echo "$package"
    done
}

# Everything that would stop the lab later, in one go. Nothing is changed yet.
check_machine() {
    local problems=()
    [ "$(id -u)" = 0 ] || problems+=(
        'not root: the lab makes namespaces, bridges and tap devices.')
    command -v apt-get dpkg-query > /dev/null || problems+=(
        'no apt-get: the lab is made of Debian packages; use Debian 12.')
    [ "$(uname -m)" = x86_64 ] || problems+=(
        "a $(uname -m) machine: Debian has User Mode Linux for x86_64 only.")
    [ -c /dev/net/tun ] && (: <> /dev/net/tun) 2> /dev/null || problems+=(
        'no usable /dev/net/tun: try "modprobe tun"; give a container the device.')
    unshare --net --mount --pid --fork true 2> /dev/null || problems+=(
        'no private namespaces (unshare failed): a container has to be privileged.')
    find_python "${SUPPORTED/ensurepip, /}" > /dev/null || problems+=(
        'no Python 3.11 or newer: apt-get install python3, or set PYTHON.')
    [ ${#problems[@]} = 0 ] || fail 'This machine cannot run the lab:' \
        "${problems[@]/#/  }"
}

restore_policy() {
    if [ -e "$SAVED" ] || [ -L "$SAVED" ]; then
        mv -f "$SAVED" "$POLICY"
    elif grep -qsF "$MARK" "$POLICY"; then
        rm -f "$POLICY"
    fi
}

# A policy-rc.d that says no keeps what gets installed from being started.
forbid_services() {
    trap restore_policy EXIT
    trap 'exit 1' HUP INT TERM
    if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then
        mv "$POLICY" "$SAVED"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" > "$POLICY"
    chmod 755 "$POLICY"
}

install_packages() {
    local packages
    restore_policy  # an earlier run may have been killed
    mapfile -t packages < <(missing_packages)
    [ ${#packages[@]} -gt 0 ] || return 0
    log "installing system packages: ${packages[*]}"
    forbid_services
    export DEBIAN_FRONTEND=noninteractive
    logged apt-get -q update
    logged apt-get -q -y --no-install-recommends install "${packages[@]}"
    restore_policy
}

# The environment is made anew if the checkout moved, since its scripts hold
# absolute paths, and brought up to date if what it is made from changed.
make_venv() {
    local python stamp=.venv/vmthunder.stamp made_from
    made_from=$(cat setup.cfg setup.py pyproject.toml constraints.txt |
                sha256sum)
    if ! .venv/bin/python -c "$SUPPORTED" 2> /dev/null ||
            { [ -e "$stamp" ] && [ "$(head -n 1 "$stamp")" != "$PWD" ]; }; then
        python=$(find_python "$SUPPORTED") || fail \
            'no Python 3.11 or newer that can make virtual environments:' \
            'apt-get install python3-venv, or set PYTHON.'
        log "making .venv with $python"
        rm -rf .venv
        logged "$python" -m venv .venv
    fi
    if [ "$(cat "$stamp" 2> /dev/null)" != "$PWD"$'\n'"$made_from" ]; then
        log 'installing Python packages into .venv (a few minutes)'
        rm -f "$stamp"
        logged .venv/bin/python -m pip install --progress-bar off \
            --disable-pip-version-check --constraint constraints.txt \
            --editable '.[bench,cinder,docs,lab,tempest,test]'
        printf '%s\n%s\n' "$PWD" "$made_from" > "$stamp"
    fi
}

[ "${1:-}" != lab ] || check_machine
mkdir -p .cache
exec 9> .cache/prepare.lock
flock 9
: > "$LOG"
[ "${1:-}" != lab ] || install_packages
make_venv
