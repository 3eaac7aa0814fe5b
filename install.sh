#!/bin/sh
# Installs hermes-oscron, upgrades it and repairs it; './install.sh --help' lists the options.
#
# This script only finds a Python; hermes_oscron/install/ does the rest, with the standard library alone.

set -eu

# After `su` or `sudo -E`, root may have the PATH of another account, whose commands it must not run.
[ "$(/usr/bin/id -u)" != 0 ] || PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# is_roots PATH: succeed if only root can change the target of PATH, and every folder and link on the way. Root must not
# run what another account can change. BusyBox has no namei(1).
is_roots() (
    set -f
    rest=${1#/}/ at='' links=0
    [ "$rest" != "$1/" ] || exit 1
    while :; do
        set -- $(LC_ALL=C ls -ldn "${at:-/}" 2>/dev/null)
        [ "${3-}" = 0 ] || exit 1
        case $1 in
        l*)
            links=$((links + 1))
            [ "$links" -le 40 ] || exit 1
            target=$(readlink "$at")
            rest=$target/$rest
            at=${at%/*}
            case $target in /*) at='' ;; esac
            ;;
        ?????w* | ????????w*) exit 1 ;;
        esac
        while [ "${rest#/}" != "$rest" ]; do rest=${rest#/}; done
        name=${rest%%/*}
        [ -n "$name" ] || exit 0
        rest=${rest#*/}
        case $name in
        .) ;;
        ..) at=${at%/*} ;;
        *) at=$at/$name ;;
        esac
    done
)

# is_python COMMAND MODULES: succeed if COMMAND is a Python 3.11 or newer that has MODULES.
is_python() {
    [ "$("$1" -I -c "import $2, sys; print(sys.version_info >= (3, 11))" 2>/dev/null)" = True ]
}

# Print the path of the newest Python, if possible of one that can make environments.
find_python() {
    folders='/usr/local/bin /usr/bin'
    [ "$(id -u)" = 0 ] || folders=$(echo "$PATH" | tr ' :' '? ')
    for modules in "ensurepip, venv" sys; do
        for name in python3.14 python3.13 python3.12 python3.11 python3; do
            for folder in $folders; do
                [ -x "$folder/$name" ] || continue
                [ "$(id -u)" != 0 ] || is_roots "$folder/$name" || continue
                if is_python "$folder/$name" "$modules"; then
                    echo "$folder/$name"
                    return
                fi
            done
        done
    done
}

SELF=$(readlink -f "$0")
SOURCE=$(dirname "$SELF")

if [ -n "${PYTHON:-}" ]; then
    found=$(command -v "$PYTHON") || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
    [ "$(id -u)" != 0 ] || is_roots "$found" ||
        fail "PYTHON=$PYTHON can be changed by others than root, which would run it."
    is_python "$found" sys || fail "PYTHON=$PYTHON is not a Python 3.11 or newer."
else
    found=$(find_python)
    [ -n "$found" ] || fail "there is no Python 3.11 or newer in $(
        [ "$(id -u)" = 0 ] && echo "/usr/local/bin or /usr/bin that only root can change" || echo "the PATH"
    ). Install one (on Debian and Ubuntu: apt install python3-venv), or name it: PYTHON=/path/to/python3 ./install.sh"
fi

# Without a home, folders are found by the account (getpwuid(3)).
# A Ctrl-C while Python starts would print a traceback, so its errors go to /dev/null until signals are set.
exec "$found" -I -B -X pycache_prefix=/nonexistent -c '
import os, signal, sys
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main handles it, nothing has to be undone
os.dup2(3, 2)
os.close(3)
sys.path.insert(0, sys.argv[1])
from hermes_oscron.install.main import main
sys.exit(main(sys.argv[2:], sys.argv[1]))
' "$SOURCE" "$@" 3>&2 2>/dev/null
