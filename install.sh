#!/bin/sh
# Installs hermes-oscron: for root in the system manager, for anyone else in their own user manager; without systemd, for
# the account's crontab.
#
#   ./install.sh                  install, or bring an installation up to date
#   ./install.sh --scheduler crontab
#                                 let cron fire the jobs, or systemd, which auto prefers where it runs
#   ./install.sh --account NAME   as root: install for NAME, in that account's user manager or crontab
#   ./install.sh --dry-run        say what becomes of the jobs that are there already, and change nothing
#   ./install.sh --uninstall      take away what was installed; jobs, outputs and the token stay
#   ./install.sh --try            show it working in a temporary place, and leave nothing behind
#
# HERMES_HOME and HERMES_TIMEZONE, where set, are kept for the jobs. PORT chooses another port than 8791, and
# SOCKET=/path a socket in the file system, for that account alone, in its place.

set -eu

SOURCE=$(cd "$(dirname "$0")" && pwd)
PORT=${PORT:-8791}
SOCKET=${SOCKET:-}
SYNC_UNITS="hermes-oscron-sync.service hermes-oscron-sync.path"
UNITS="hermes-job@.service hermes-oscron.socket hermes-oscron.service $SYNC_UNITS hermes-oscron-sync.timer
    hermes-oscron-changed.path hermes-oscron-changed.service hermes-oscron-watch@.path"
ENABLED="hermes-oscron.socket hermes-oscron-sync.service hermes-oscron-sync.timer hermes-oscron-sync.path hermes-oscron-changed.path"

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# The places of an installation and the manager that owns it.
choose_places() {
    if [ "$(id -u)" = 0 ]; then
        PREFIX=/usr/local/lib/hermes-oscron
        BIN=/usr/local/bin
        UNIT_DIR=/etc/systemd/system
        RUNTIME=/run
        RUNTIME_UNITS=/run/systemd/system
        MANAGER=--system
        TARGET=multi-user.target
        UNIT_USER=User=root
    else
        PREFIX=${XDG_DATA_HOME:-$HOME/.local/share}/hermes-oscron
        BIN=$HOME/.local/bin
        UNIT_DIR=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
        MANAGER=--user
        TARGET=default.target
        UNIT_USER=
        XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
        export XDG_RUNTIME_DIR
        RUNTIME=$XDG_RUNTIME_DIR
        RUNTIME_UNITS=$XDG_RUNTIME_DIR/systemd/user
    fi
}

# make_venv DIR: the package and its two commands in a virtual environment of their own.
make_venv() {
    python=$(command -v python3) || fail "python3 is missing; install Python 3.11 or newer."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" -V) is too old; Python 3.11 or newer is needed."
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv."
    [ -x "$1/bin/pip" ] || "$python" -m venv --clear "$1"
    # The build works on a copy, so that nothing is written beside the source.
    build=$(mktemp -d)
    cp -R "$SOURCE/pyproject.toml" "$SOURCE/README.md" "$SOURCE/hermes_oscron" "$build"
    if ! "$1/bin/pip" install --quiet --disable-pip-version-check --no-warn-script-location --upgrade \
        "$build" 2>"$build/pip.log"; then
        cat "$build/pip.log" >&2
        rm -rf "$build"
        fail "pip could not install hermes-oscron; its own words are above."
    fi
    rm -rf "$build"
}

# for_unit TEXT: TEXT inside double quotes of a unit file (systemd.syntax(7)), as a replacement of sed's.
for_unit() {
    printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' | sed -e 's/[\\&|]/\\&/g'
}

# for_path TEXT: TEXT as a path of a .path unit (systemd.path(5)), as a replacement of sed's.
for_path() {
    printf '%s' "$1" | sed -e 's/%/%%/g' -e 's/[\\&|]/\\&/g'
}

# write_units DIR BIN UNIT…: static units, with the places filled in.
write_units() {
    dir=$1 bin=$2
    shift 2
    environment="Environment=\"PATH=$(for_unit "$PATH")\""
    [ -z "${HERMES_HOME:-}" ] || environment="$environment\\nEnvironment=\"HERMES_HOME=$(for_unit "$HERMES_HOME")\""
    [ -z "${HERMES_TIMEZONE:-}" ] ||
        environment="$environment\\nEnvironment=\"HERMES_TIMEZONE=$(for_unit "$HERMES_TIMEZONE")\""
    mkdir -p "$dir"
    for unit in "$@"; do
        sed -e "s|@BIN@|$(for_unit "$bin")|g" -e "s|@ENVIRONMENT@|$environment|" \
            -e "s|@LISTEN@|$(for_unit "${SOCKET:-127.0.0.1:$PORT}")|" -e "s|@ROOT@|$(for_path "$(hermes_root)")|" \
            -e "s|@TARGET@|$TARGET|" -e "s|@USER@|$UNIT_USER|" "$SOURCE/units/$unit" >"$dir/$unit.new"
        mv "$dir/$unit.new" "$dir/$unit"
    done
}

# The Hermes root: HERMES_HOME may name a profile in it.
hermes_root() {
    root=${HERMES_HOME:-$HOME/.hermes}
    [ "$(basename "$(dirname "$root")")" != profiles ] || root=$(dirname "$(dirname "$root")")
    printf '%s' "$root"
}

manager_runs() {
    if [ "$MANAGER" = --system ]; then [ -d /run/systemd/system ]; else [ -S "$XDG_RUNTIME_DIR/systemd/private" ]; fi
}

# Whether a manager runs for us, after an attempt to have a user's own started.
has_manager() {
    [ -d /run/systemd/system ] || return 1
    if manager_runs; then
        return
    fi
    # Linger starts the manager, and keeps it when nobody is logged in.
    loginctl enable-linger "$(id -un)" 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        if manager_runs; then
            return
        fi
        sleep 0.5
    done
    return 1
}

install() {
    has_manager && managed=yes || managed=
    if [ -z "$managed" ] && [ -d /run/systemd/system ] && [ "$SCHEDULER" != crontab ]; then
        fail "no systemd user manager runs for $(id -un). As root: loginctl enable-linger $(id -un)"
    fi
    case $managed$PREFIX in
    yes*[\'\"\\]*) fail "systemd starts no program from a folder with a quote or a backslash in its name: $PREFIX" ;;
    esac
    make_venv "$PREFIX/venv"
    mkdir -p "$BIN"
    for name in hermes-oscron hermes-cron-exec; do
        ln -sf "$PREFIX/venv/bin/$name" "$BIN/$name"
    done
    "$BIN/hermes-oscron" token >/dev/null
    path=hermes-oscron
    case ":$PATH:" in *":$BIN:"*) ;; *) path=$BIN/hermes-oscron ;; esac
    # What cron starts is written anew, with this environment.
    rm -rf "${HERMES_HOME:-$HOME/.hermes}/cron/oscron/bin"
    if [ -n "$managed" ]; then
        install_units
    fi
    "$BIN/hermes-oscron" sync --scheduler "$SCHEDULER" >/dev/null || fail "the jobs could not be armed; see above."
    if [ -n "$managed" ]; then
        echo "Listening on ${SOCKET:-http://127.0.0.1:$PORT}. Its token:  $path token"
    else
        echo "Serve the API:  $path serve, from where this machine starts its services"
    fi
    echo "Make a job:  $path create 'weekdays at 9:00' 'Summarise my mail'"
    if command -v hermes >/dev/null || [ -e "$(hermes_root)/config.yaml" ]; then
        echo "Let the agent's own scheduler stand down:  $path plugin install"
    fi
    if "$BIN/hermes-oscron" doctor | grep -q 'fired by cron'; then
        echo "See them:    $path list; crontab -l"
    else
        echo "See them:    $path list; systemctl $MANAGER list-timers 'hermes-job@*'"
    fi
}

install_units() {
    # shellcheck disable=SC2086
    write_units "$UNIT_DIR" "$PREFIX/venv/bin" $UNITS
    if [ "$MANAGER" = --user ]; then
        loginctl enable-linger "$(id -un)" 2>/dev/null ||
            echo "install.sh: jobs will only run while $(id -un) is logged in; as root: loginctl enable-linger $(id -un)" >&2
    fi
    systemctl "$MANAGER" daemon-reload
    # A server that runs the old code leaves; the socket stays and starts the new one.
    systemctl "$MANAGER" --quiet stop hermes-oscron.service 2>/dev/null
    # shellcheck disable=SC2086
    systemctl "$MANAGER" --quiet enable $ENABLED
    systemctl "$MANAGER" restart hermes-oscron.socket 2>/dev/null ||
        fail "cannot listen on ${SOCKET:-127.0.0.1:$PORT}; if something else does, choose a port: PORT=8792 ./install.sh"
    systemctl "$MANAGER" restart hermes-oscron-sync.timer hermes-oscron-sync.path hermes-oscron-changed.path
    systemctl "$MANAGER" try-restart 'hermes-oscron-watch@*.path'
}

uninstall() {
    # First whatever could ask for a sync, which would arm again what is disarmed, and the sync that may be under way.
    # shellcheck disable=SC2086
    systemctl "$MANAGER" --quiet disable --now $ENABLED hermes-oscron.service >/dev/null 2>&1 || true
    systemctl "$MANAGER" stop hermes-oscron-changed.service 'hermes-oscron-watch@*.path' >/dev/null 2>&1 || true
    [ ! -x "$BIN/hermes-oscron" ] || "$BIN/hermes-oscron" plugin remove >/dev/null ||
        echo "install.sh: the agent's config.yaml still names this installation; see above." >&2
    [ ! -x "$BIN/hermes-oscron" ] || "$BIN/hermes-oscron" disarm ||
        echo "install.sh: not all that fires was found; what is left of it: 'crontab -l', 'systemctl list-timers'." >&2
    rm -f "${HERMES_HOME:-$HOME/.hermes}/cron/oscron/scheduler"
    if systemctl "$MANAGER" list-units --plain --no-legend >/dev/null 2>&1; then
        timers=$(systemctl "$MANAGER" list-units --all --plain --no-legend --full 'hermes-job@*.timer' | cut -d' ' -f1)
        # shellcheck disable=SC2086
        [ -z "$timers" ] || systemctl "$MANAGER" stop -- $timers
        systemctl "$MANAGER" stop '*hermes*job.slice' 2>/dev/null || true
        systemctl "$MANAGER" reset-failed 'hermes-job@*' 'hermes-oscron*' 2>/dev/null || true
    fi
    rm -rf "$RUNTIME_UNITS"/hermes-job@*.timer "$RUNTIME/hermes-oscron"
    for unit in $UNITS; do
        rm -f "$UNIT_DIR/$unit"
    done
    for name in hermes-oscron hermes-cron-exec; do
        [ "$(readlink "$BIN/$name" 2>/dev/null)" != "$PREFIX/venv/bin/$name" ] || rm -f "$BIN/$name"
    done
    rm -rf "$PREFIX"
    systemctl "$MANAGER" daemon-reload 2>/dev/null || true
    echo "hermes-oscron is gone; jobs, outputs and the token stay in ${HERMES_HOME:-$HOME/.hermes}."
}

# json KEY…: the value under the keys in the JSON on standard input.
json() {
    "$PLACE/venv/bin/python" -c '
import functools, json, sys
print(functools.reduce(lambda at, key: at[int(key) if isinstance(at, list) else key], sys.argv[1:], json.load(sys.stdin)))
' "$@"
}

api() {
    method=$1 path=$2
    shift 2
    curl --silent --show-error --max-time 10 --request "$method" --header "Authorization: Bearer $TOKEN" \
        --header 'Content-Type: application/json' "http://127.0.0.1:$PORT$path" "$@"
}

leave() {
    [ -z "${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true
    [ -z "${SERVER:-}" ] || wait "$SERVER" 2>/dev/null || true
    if [ "$FIRES" = systemd ]; then
        "$PLACE/venv/bin/hermes-oscron" delete "$id" >/dev/null 2>&1 || true
        systemctl "$MANAGER" stop hermes-oscron-sync.path 2>/dev/null || true
        rm -rf "$RUNTIME/hermes-oscron"
        for unit in hermes-job@.service $SYNC_UNITS; do
            rm -f "$RUNTIME_UNITS/$unit"
        done
        systemctl "$MANAGER" stop '*hermes*job.slice' 2>/dev/null || true
        systemctl "$MANAGER" reset-failed 'hermes-job@*' 2>/dev/null || true
    fi
    rm -rf "$PLACE"
}

try() {
    command -v curl >/dev/null || fail "curl is missing; --try calls the API with it."
    PLACE=$(mktemp -d)
    FIRES=foreground
    id=
    trap leave EXIT
    trap 'exit 130' INT TERM
    export HERMES_HOME="$PLACE/hermes"
    make_venv "$PLACE/venv"
    mkdir -p "$HERMES_HOME/scripts"
    printf 'echo "Hello from $HERMES_JOB_NAME, at $(date +%%T)."\n' >"$HERMES_HOME/scripts/hello.sh"
    echo "Installed for as long as this takes, in"
    echo "$PLACE"

    if manager_runs && ! systemctl "$MANAGER" cat hermes-job@.service >/dev/null 2>&1; then
        FIRES=systemd
        # shellcheck disable=SC2086
        write_units "$RUNTIME_UNITS" "$PLACE/venv/bin" hermes-job@.service $SYNC_UNITS
        systemctl "$MANAGER" start hermes-oscron-sync.path
    fi
    PORT=$("$PLACE/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    TOKEN=$("$PLACE/venv/bin/hermes-oscron" token)
    "$PLACE/venv/bin/hermes-oscron" serve --port "$PORT" --scheduler "$FIRES" >"$PLACE/serve.log" 2>&1 &
    SERVER=$!
    for _ in $(seq 100); do
        curl --silent --output /dev/null "http://127.0.0.1:$PORT/health" && break
        kill -0 "$SERVER" 2>/dev/null || { cat "$PLACE/serve.log" >&2; fail "the server did not start."; }
        sleep 0.1
    done
    case $FIRES in
    systemd) echo "The API is on http://127.0.0.1:$PORT; a systemd timer will fire." ;;
    *) echo "The API is on http://127.0.0.1:$PORT; it fires by itself while this runs." ;;
    esac

    due=$(date --utc --date '3 seconds' +%Y-%m-%dT%H:%M:%SZ)
    echo "POST /api/crons/create: a script, once, at $due"
    created=$(api POST /api/crons/create --data \
        "{\"name\": \"the first job\", \"no_agent\": true, \"script\": \"hello.sh\", \"schedule\": \"$due\"}")
    id=$(echo "$created" | json job id) || fail "the API answered: $created"
    for _ in $(seq 150); do
        job=$(api GET /api/crons)
        [ "$(echo "$job" | json jobs 0 state)" = completed ] && break
        sleep 0.1
    done
    echo
    echo "GET /api/crons/output?job_id=$id"
    api GET "/api/crons/output?job_id=$id" | json outputs 0 content
    echo "GET /api/crons: state $(echo "$job" | json jobs 0 state), last_status $(echo "$job" | json jobs 0 last_status)"
    [ "$(echo "$job" | json jobs 0 last_status)" = ok ] || fail "the job did not run; the server said: $(cat "$PLACE/serve.log")"
    api POST /api/crons/delete --data "{\"job_id\": \"$id\"}" >/dev/null
    echo "It works. ./install.sh installs it for good."
}

dry_run() {
    PLACE=$(mktemp -d)
    trap 'rm -rf "$PLACE"' EXIT
    make_venv "$PLACE/venv"
    "$PLACE/venv/bin/hermes-oscron" adopt --dry-run
}

# As root for another account: everything as that account, in its own user manager.
install_for() {
    account=$1
    shift
    id "$account" >/dev/null 2>&1 || fail "there is no account '$account'."
    [ "$VERB" = dry_run ] || [ ! -d /run/systemd/system ] || loginctl enable-linger "$account" ||
        fail "linger could not be turned on for $account."
    copy=$(mktemp -d)
    cp -R "$SOURCE/install.sh" "$SOURCE/pyproject.toml" "$SOURCE/README.md" "$SOURCE/hermes_oscron" "$SOURCE/units" "$copy"
    chmod -R a+rX "$copy"
    status=0
    setpriv --reuid "$account" --regid "$(id -g "$account")" --init-groups --reset-env \
        env PORT="$PORT" SOCKET="$SOCKET" "$copy/install.sh" "$@" || status=$?
    rm -rf "$copy"
    exit "$status"
}

case ${HERMES_HOME:-/} in
/*) ;;
*) HERMES_HOME=$PWD/$HERMES_HOME ;;
esac

VERB=install
ACCOUNT=
SCHEDULER=auto
while [ $# -gt 0 ]; do
    case $1 in
    --try) VERB=try ;;
    --dry-run) VERB=dry_run ;;
    --uninstall) VERB=uninstall ;;
    --account)
        [ $# -gt 1 ] || fail "--account takes the name of an account."
        ACCOUNT=$2
        shift
        ;;
    --scheduler)
        case ${2:-} in
        auto | systemd | crontab) SCHEDULER=$2 ;;
        *) fail "--scheduler takes auto, systemd or crontab." ;;
        esac
        shift
        ;;
    *) fail "there is no option '$1'; the options are --try, --dry-run, --uninstall, --scheduler KIND and --account NAME." ;;
    esac
    shift
done
if [ -n "$ACCOUNT" ] && [ "$ACCOUNT" != "$(id -un)" ]; then
    [ "$(id -u)" = 0 ] || fail "--account is for root; you are $(id -un)."
    case $VERB in
    uninstall) install_for "$ACCOUNT" --uninstall ;;
    dry_run) install_for "$ACCOUNT" --dry-run ;;
    esac
    install_for "$ACCOUNT" --scheduler "$SCHEDULER"
fi
choose_places
"$VERB"
