#!/bin/sh
# Installs hermes-oscron: for root in the system's manager, where the jobs and the API run as an ordinary account; for
# any other account in its own user manager; without systemd in the account's crontab.
#
#   ./install.sh                  install or upgrade
#   ./install.sh --account NAME   as root: run the jobs and the API as NAME, by default a new system account 'hermes';
#                                 without systemd: install in NAME's crontab
#   ./install.sh --scheduler crontab
#                                 fire the jobs by cron; also systemd, or auto: systemd if it runs, else cron
#   ./install.sh --dry-run        print the effect on the existing jobs, and change nothing
#   ./install.sh --uninstall      remove everything except jobs, outputs and the token
#   ./install.sh --try            run a job in a temporary installation, and remove that
#
# HERMES_HOME and HERMES_TIMEZONE, if set, are stored for the jobs. PORT is the port of the API, 8791 by default;
# SOCKET=/path puts the API on a socket in the file system instead, which only that account can open.

set -eu

SOURCE=$(cd "$(dirname "$0")" && pwd -P)
PORT=${PORT:-8791}
SOCKET=${SOCKET:-}
SYNC_UNITS="hermes-oscron-sync.service hermes-oscron-sync.socket"
UNITS="hermes-job@.service hermes-oscron.socket hermes-oscron.service $SYNC_UNITS hermes-oscron-sync.timer
    hermes-oscron-changed.path hermes-oscron-changed.service hermes-oscron-watch@.path"
ENABLED="hermes-oscron.socket hermes-oscron-sync.service hermes-oscron-sync.timer hermes-oscron-sync.socket hermes-oscron-changed.path"
# Only in the system's manager: root's helper, and the drop-ins by which the units belong to the account.
ACCOUNT_UNITS="hermes-job@.service.d hermes-oscron.service.d hermes-oscron.socket.d hermes-oscron-sync.service.d
    hermes-oscron-sync.socket.d hermes-oscron-changed.service.d"
SYSTEM_UNITS="hermes-oscron-root.socket hermes-oscron-root@.service $(printf '%s/account.conf ' $ACCOUNT_UNITS)"
POLKIT_RULES=/etc/polkit-1/rules.d

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# run COMMAND…: run it so that a signal to install.sh ends both.
run() {
    "$@" &
    CHILD=$!
    status=0
    wait "$CHILD" || status=$?
    CHILD=
    return "$status"
}

# end STATUS: handle a signal to install.sh.
end() {
    trap '' HUP INT TERM
    [ -z "$CHILD" ] || kill "$CHILD" 2>/dev/null || true
    [ -z "$CHILD" ] || wait "$CHILD" || true
    exit "$1"
}

# Choose the folders of the installation and the manager that owns it.
choose_places() {
    if [ "$(id -u)" = 0 ]; then
        PREFIX=/usr/local/lib/hermes-oscron
        BIN=/usr/local/bin
        UNIT_DIR=/etc/systemd/system
        RUNTIME_UNITS=/run/systemd/system
        MANAGER=--system
        TARGET=multi-user.target
    else
        PREFIX=${XDG_DATA_HOME:-$HOME/.local/share}/hermes-oscron
        BIN=$HOME/.local/bin
        UNIT_DIR=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
        MANAGER=--user
        TARGET=default.target
        XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
        export XDG_RUNTIME_DIR
        RUNTIME_UNITS=$XDG_RUNTIME_DIR/systemd/user
    fi
}

# kept NAME: print the setting NAME of the present installation in the system's manager.
kept() {
    sed -n "s/^$1=//p" "$PREFIX/venv/installation" 2>/dev/null || true
}

# As root: choose the account of the jobs, and whether the system's manager fires them. Without systemd they go to the
# account's crontab, or to root's own if no account is named.
choose_for_root() {
    if [ "$VERB" = try ]; then
        # The API must not run as root, not even for a minute.
        ACCOUNT=${ACCOUNT:-nobody}
        TMPDIR=/tmp
        install_for
    fi
    present=$(kept HERMES_OSCRON_ACCOUNT)
    if [ "$VERB" = uninstall ] && [ -n "$present" ] && [ "${ACCOUNT:-$present}" = "$present" ]; then
        ACCOUNT=$present
        OWNER_HOME=$(getent passwd "$ACCOUNT" | cut -d: -f6)
        OWNER_HOME=${OWNER_HOME:-/nonexistent}
        HERMES_HOME=$(kept HERMES_HOME)
        ! id "$ACCOUNT" >/dev/null 2>&1 || prepare_for_account
    elif [ -d /run/systemd/system ] && [ "$VERB" != uninstall ]; then
        if [ -z "$present" ] && [ -e "$UNIT_DIR/hermes-oscron.service" ]; then
            fail "the present installation runs jobs and API as root, which is no longer supported. Remove it with
./install.sh --uninstall, give root's ~/.hermes to an account (cp -a, chown -R), and install for that account."
        fi
        [ -z "$present" ] || [ "${ACCOUNT:-$present}" = "$present" ] ||
            fail "the jobs of this installation are those of '$present'; remove it first: ./install.sh --uninstall"
        [ -n "${HERMES_HOME:-}" ] || HERMES_HOME=$(kept HERMES_HOME)
        [ -n "${HERMES_TIMEZONE:-}" ] || HERMES_TIMEZONE=$(kept HERMES_TIMEZONE)
        choose_account
    elif [ -n "$ACCOUNT" ] && [ "$ACCOUNT" != root ]; then
        ACCOUNT=$(name_of "$ACCOUNT")
        install_for
    fi
}

# name_of ACCOUNT: print the name of ACCOUNT, which may be given as a number.
name_of() {
    case $1 in
    -* | *[!A-Za-z0-9_.@-]*) fail "there is no account '$1'." ;;
    esac
    id -un "$1" 2>/dev/null || fail "there is no account '$1'."
}

# Choose the account: the named one, the present one, or a new one; it must not be root.
choose_account() {
    ACCOUNT=${ACCOUNT:-${present:-hermes}}
    if [ "$ACCOUNT" = hermes ] && ! id hermes >/dev/null 2>&1; then
        if [ "$VERB" = dry_run ]; then
            echo "The account 'hermes' would be created; it has no jobs yet. --account names another one."
            exit
        fi
        useradd --system --user-group --home-dir /var/lib/hermes --create-home --shell /usr/sbin/nologin hermes
        chmod 700 /var/lib/hermes
    fi
    ACCOUNT=$(name_of "$ACCOUNT")
    [ "$(id -u "$ACCOUNT")" != 0 ] ||
        fail "jobs and API do not run as root; name an ordinary account with --account."
    OWNER_HOME=$(getent passwd "$ACCOUNT" | cut -d: -f6)
    [ "${HERMES_HOME:-}" != "$OWNER_HOME/.hermes" ] || HERMES_HOME=
    prepare_for_account
    [ "$VERB" = dry_run ] || as_account 60 sh -c 'umask 077; mkdir -p "$1" && test -w "$1"' sh "$(hermes_root)" 2>/dev/null ||
        fail "$ACCOUNT cannot write to $(hermes_root), the folder of the jobs; set HERMES_HOME to another folder."
}

# Prepare for starting processes of the account as root.
prepare_for_account() {
    ACCOUNT_PATH=$(getent passwd "$ACCOUNT" | cut -d: -f6)/.local/bin:/usr/local/sbin:/usr/local/bin
    ACCOUNT_PATH=$ACCOUNT_PATH:/usr/sbin:/usr/bin:/sbin:/bin
    refuse_source_of_account
    choose_python
}

# as_account SECONDS COMMAND…: run COMMAND as the account, for at most SECONDS. Only its exit status may be used: the
# account can rewrite the output of its processes (/proc/PID/mem).
as_account() {
    [ -n "$PYTHON" ] || return 1
    limit=$1
    shift
    run "$PYTHON" -I "$SOURCE/hermes_oscron/become.py" "$ACCOUNT" "$limit" env PATH="$ACCOUNT_PATH" "$@"
}

# as_owner SECONDS COMMAND…: run COMMAND as the account of the jobs.
as_owner() {
    if is_systems; then
        as_account "$@"
    else
        shift
        run "$@"
    fi
}

# Root runs and installs files of the source, so the account must not be able to change any of them.
refuse_source_of_account() {
    set -- -user "$(id -u "$ACCOUNT")" -o -perm -o+w
    for group in $(id -G "$ACCOUNT"); do
        set -- "$@" -o -perm -g+w -group "$group"
    done
    found=$(cd "$SOURCE" && find install.sh pyproject.toml README.md units hermes_oscron ! -type l '(' "$@" ')' -print -quit)
    at=$SOURCE
    while [ -z "$found" ]; do
        # In a folder with the sticky bit, like /tmp, an account cannot rename files of others.
        found=$(find "$at" -prune '(' "$@" ')' ! '(' -user root -perm -1000 ')' -print)
        [ "$at" != / ] || break
        at=$(dirname "$at")
    done
    [ -z "$found" ] ||
        fail "$ACCOUNT can change $found, which root would run; copy $SOURCE to a folder that only root can change, and
run its install.sh."
}

# is_roots PATH: succeed if only root can change the target of PATH, and every folder and link on the way. Only root can
# create a part that is missing.
is_roots() {
    LC_ALL=C namei --modes --owners "$1" |
        awk 'NR > 1 && $2 != "-" && ($2 != "root" || $1 ~ /^[^l](....w|.......w)/) { bad = 1 } END { exit bad || NR < 2 }'
}

# Choose the newest Python that only root can change and that the account can run, if possible one that has venv.
choose_python() {
    for modules in "ensurepip, venv" sys; do
        for name in python3.14 python3.13 python3.12 python3.11 python3; do
            for folder in /usr/local/bin /usr/bin; do
                PYTHON=$folder/$name
                [ -x "$PYTHON" ] && is_roots "$PYTHON" || continue
                "$PYTHON" -I -c "import $modules, sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || continue
                ! as_account 60 "$PYTHON" -I -c '' 2>/dev/null || return 0
            done
        done
    done
    PYTHON=
    [ "$VERB" = uninstall ] || fail "there is no Python 3.11 or newer in /usr/local/bin or /usr/bin that $ACCOUNT can run and
only root can change; install one there."
}

is_systems() {
    [ -n "$OWNER_HOME" ]
}

# refuse_socket_of_others PATH: fail unless only root can change the folder of PATH. systemd creates the socket and
# changes its owner as root, and follows links.
refuse_socket_of_others() {
    folder=$(dirname "$1")
    [ "$(readlink -m "$folder")" = "$folder" ] && is_roots "$folder" ||
        fail "SOCKET=$1 is in $folder, which others than root can change; use a path in /run."
}

# copy_source DIR NAME…: copy the files NAME… of the source to DIR, without __pycache__, which may be unreadable.
copy_source() {
    copy_to=$1
    shift
    (cd "$SOURCE" && find "$@" -name __pycache__ -prune -o -type f -exec cp --parents --target-directory "$copy_to" '{}' +)
}

# make_venv DIR: install the package and its two commands in a virtual environment of their own.
make_venv() {
    if is_systems; then
        python=$PYTHON
        [ ! -e "$1" ] || is_roots "$1/bin/python" || rm -rf "$1"
    else
        python=$(command -v python3) || fail "python3 is missing; install Python 3.11 or newer."
    fi
    "$python" -I -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" -V) is too old; Python 3.11 or newer is needed."
    "$python" -I -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv."
    [ -x "$1/bin/pip" ] || "$python" -I -m venv --clear "$1"
    # The build works on a copy, so that nothing is written beside the source.
    build=$(mktemp -d)
    copy_source "$build" pyproject.toml README.md hermes_oscron
    if ! "$1/bin/pip" install --quiet --disable-pip-version-check --no-warn-script-location --upgrade \
        "$build" 2>"$build/pip.log"; then
        cat "$build/pip.log" >&2
        rm -rf "$build"
        fail "pip failed; see its output above."
    fi
    rm -rf "$build"
}

# for_unit TEXT: print TEXT for use inside double quotes of a unit file (systemd.syntax(7)), as a replacement of sed.
for_unit() {
    printf '%s' "$1" | sed -e 's/[\\"]/\\&/g' -e 's/%/%%/g' | sed -e 's/[\\&|]/\\&/g'
}

# for_path TEXT: print TEXT for use as a path of a .path unit (systemd.path(5)), as a replacement of sed.
for_path() {
    printf '%s' "$1" | sed -e 's/%/%%/g' -e 's/[\\&|]/\\&/g'
}

# write_units DIR BIN UNIT…: write static units to DIR, with paths and settings filled in.
write_units() {
    dir=$1 bin=$2
    shift 2
    jobs_path=$PATH
    ! is_systems || jobs_path=$ACCOUNT_PATH
    environment="Environment=\"PATH=$(for_unit "$jobs_path")\""
    ! is_systems || environment="User=$ACCOUNT\\n$environment"
    [ -z "${HERMES_HOME:-}" ] || environment="$environment\\nEnvironment=\"HERMES_HOME=$(for_unit "$HERMES_HOME")\""
    zone=
    [ -z "${HERMES_TIMEZONE:-}" ] || zone="\\nEnvironment=\"HERMES_TIMEZONE=$(for_unit "$HERMES_TIMEZONE")\""
    listen=$(for_unit "$SOCKET")
    listen=${listen:-127.0.0.1:$PORT\\nListenStream=[::1]:$PORT}
    for unit in "$@"; do
        source=$SOURCE/units/$unit
        [ -e "$source" ] || source=$SOURCE/units/system/$unit
        [ -e "$source" ] || source=$SOURCE/units/system/$(basename "$unit")
        mkdir -p "$(dirname "$dir/$unit")"
        sed -e "s|@BIN@|$(for_unit "$bin")|g" -e "s|@ENVIRONMENT@|$environment$zone|" -e "s|@ACCOUNT@|$ACCOUNT|g" \
            -e "s|@HELPER_ENVIRONMENT@|Environment=\"HERMES_HOME=$(for_unit "$(hermes_root)")\"$zone|" \
            -e "s|@STATE@|$(for_unit "$(hermes_root)/cron/oscron")|g" \
            -e "s|@LISTEN@|$listen|" -e "s|@ROOT@|$(for_path "$(hermes_root)")|" \
            -e "s|@TARGET@|$TARGET|" "$source" >"$dir/$unit.new"
        mv "$dir/$unit.new" "$dir/$unit"
    done
}

# Print the Hermes root; HERMES_HOME may name a profile in it.
hermes_root() {
    root=${HERMES_HOME:-${OWNER_HOME:-$HOME}/.hermes}
    [ "$(basename "$(dirname "$root")")" != profiles ] || root=$(dirname "$(dirname "$root")")
    printf '%s' "$root"
}

manager_runs() {
    if [ "$MANAGER" = --system ]; then [ -d /run/systemd/system ]; else [ -S "$XDG_RUNTIME_DIR/systemd/private" ]; fi
}

# Succeed if a manager runs for us; if it is a user's own, try to start it.
has_manager() {
    [ -d /run/systemd/system ] || return 1
    if manager_runs; then
        return
    fi
    # Linger starts the manager, and keeps it running without a login.
    loginctl enable-linger "$(id -un)" 2>/dev/null || true
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        if manager_runs; then
            return
        fi
        sleep 0.5
    done
    return 1
}

# Fail if another program listens on the port, on one of the addresses that clients try for `localhost`: it would get
# tokens.
refuse_taken_port() {
    held=
    ! systemctl "$MANAGER" --quiet is-active hermes-oscron.socket ||
        held=$(systemctl "$MANAGER" show -P Listen hermes-oscron.socket)
    taken=$("${PYTHON:-python3}" -I -c '
import errno, socket, sys
for family, host, shown in ((socket.AF_INET, "127.0.0.1", "127.0.0.1"), (socket.AF_INET6, "::1", "[::1]")):
    address = f"{shown}:{sys.argv[1]}"
    if address not in sys.argv[2].split():
        try:
            socket.create_server((host, int(sys.argv[1])), family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                print(address)
' "$PORT" "$held" 2>/dev/null | head -n 1)
    [ -z "$taken" ] || fail "another program listens on $taken, and would get the tokens of clients that call localhost. As
root, 'ss -ltnp sport = :$PORT' names it. Choose another port: PORT=8792 ./install.sh"
}

install() {
    ! is_systems || [ -z "$SOCKET" ] || refuse_socket_of_others "$SOCKET"
    has_manager && managed=yes || managed=
    if [ -z "$managed" ] && [ -d /run/systemd/system ] && [ "$SCHEDULER" != crontab ]; then
        fail "no systemd user manager runs for $(id -un). As root: loginctl enable-linger $(id -un)"
    fi
    case $managed$PREFIX in
    yes*[\'\"\\]*) fail "systemd starts no program from a folder with a quote or a backslash in its name: $PREFIX" ;;
    esac
    [ -z "$managed" ] || [ -n "$SOCKET" ] || refuse_taken_port
    make_venv "$PREFIX/venv"
    if is_systems; then
        write_installation
    fi
    mkdir -p "$BIN"
    for name in hermes-oscron hermes-cron-exec; do
        ln -sf "$PREFIX/venv/bin/$name" "$BIN/$name"
    done
    run timeout 60 "$BIN/hermes-oscron" token >/dev/null
    path=hermes-oscron
    case ":$PATH:" in *":$BIN:"*) ;; *) path=$BIN/hermes-oscron ;; esac
    # Remove the commands that cron starts; the sync writes new ones, with this environment.
    forget_in_state bin
    if [ -n "$managed" ]; then
        install_units
    fi
    run timeout 300 "$BIN/hermes-oscron" sync --scheduler "$SCHEDULER" >/dev/null ||
        fail "the jobs could not be armed; see above."
    if [ -n "$managed" ]; then
        echo "Listening on ${SOCKET:-http://127.0.0.1:$PORT}. Print the token:  $path token"
    else
        echo "Serve the API:  $path serve; start it as a service of this machine"
    fi
    echo "Create a job:  $path create 'weekdays at 9:00' 'Summarise my mail'"
    if command -v hermes >/dev/null || [ -e "$(hermes_root)/config.yaml" ]; then
        echo "Turn off the agent's own scheduler:  $path plugin install"
    fi
    if as_owner 60 env HERMES_HOME="${HERMES_HOME:-$(hermes_root)}" sh -c '"$1" doctor | grep -q "fired by cron"' sh \
        "$PREFIX/venv/bin/hermes-oscron"; then
        echo "List the jobs:  $path list; crontab -l"
    else
        echo "List the jobs:  $path list; systemctl $MANAGER list-timers 'hermes-job@*'"
    fi
}

# Write the file by which the commands, when root runs them, become the account.
write_installation() {
    {
        echo "HERMES_OSCRON_ACCOUNT=$ACCOUNT"
        echo "PATH=$ACCOUNT_PATH"
        echo "HERMES_HOME=${HERMES_HOME:-$(hermes_root)}"
        [ -z "${HERMES_TIMEZONE:-}" ] || echo "HERMES_TIMEZONE=$HERMES_TIMEZONE"
    } >"$PREFIX/venv/installation.new"
    mv "$PREFIX/venv/installation.new" "$PREFIX/venv/installation"
}

# forget_in_state NAME: remove NAME from our files in the Hermes root, as the account that owns them.
forget_in_state() {
    as_owner 60 rm -rf "$(hermes_root)/cron/oscron/$1" || true
}

# Earlier versions requested a sync by a file in the Hermes root, which a path unit watched.
remove_old_units() {
    systemctl "$MANAGER" --quiet disable --now hermes-oscron-sync.path >/dev/null 2>&1 || true
    rm -f "$UNIT_DIR/hermes-oscron-sync.path"
    forget_in_state sync-wanted
}

install_units() {
    remove_old_units
    # shellcheck disable=SC2086
    write_units "$UNIT_DIR" "$PREFIX/venv/bin" $UNITS
    if is_systems; then
        # shellcheck disable=SC2086
        write_units "$UNIT_DIR" "$PREFIX/venv/bin" $SYSTEM_UNITS
        withhold_user_manager
    fi
    if [ "$MANAGER" = --user ]; then
        loginctl enable-linger "$(id -un)" 2>/dev/null ||
            echo "install.sh: jobs will only run while $(id -un) is logged in; as root: loginctl enable-linger $(id -un)" >&2
    fi
    # Stop a server that runs the old code and, while systemd still has it loaded, the old socket, which may be another.
    systemctl "$MANAGER" --quiet stop hermes-oscron.socket hermes-oscron.service 2>/dev/null || true
    systemctl "$MANAGER" daemon-reload
    # shellcheck disable=SC2086
    systemctl "$MANAGER" --quiet enable $ENABLED
    if is_systems; then
        systemctl --quiet enable hermes-oscron-root.socket
        systemctl restart hermes-oscron-root.socket || fail "root's helper has no socket; see systemd's message above."
    fi
    systemctl "$MANAGER" start hermes-oscron.socket 2>/dev/null ||
        fail "cannot listen on ${SOCKET:-127.0.0.1:$PORT and [::1]:$PORT}. If another program does, choose a port:
PORT=8792 ./install.sh"
    systemctl "$MANAGER" restart hermes-oscron-sync.timer hermes-oscron-sync.socket hermes-oscron-changed.path
    systemctl "$MANAGER" try-restart 'hermes-oscron-watch@*.path'
}

# Services of a user manager have no sandbox, so a job must not be able to start one for its account.
withhold_user_manager() {
    write_units "$POLKIT_RULES" "$PREFIX/venv/bin" 10-hermes-oscron.rules
    if [ -e "/var/lib/systemd/linger/$ACCOUNT" ]; then
        echo "install.sh: jobs of $ACCOUNT can leave their sandbox by its user manager. If nothing else needs that one:
loginctl disable-linger $ACCOUNT, and install again." >&2
        return
    fi
    case $(getent passwd "$ACCOUNT" | cut -d: -f7) in
    */nologin | */false)
        write_units "$UNIT_DIR" "$PREFIX/venv/bin" "user@$(id -u "$ACCOUNT").service.d/hermes-oscron.conf"
        ;;
    esac
}

uninstall() {
    # First stop everything that could request a sync, which would arm the jobs again, and a sync in progress.
    # shellcheck disable=SC2086
    systemctl "$MANAGER" --quiet disable --now $ENABLED hermes-oscron.service >/dev/null 2>&1 || true
    systemctl "$MANAGER" stop hermes-oscron-changed.service 'hermes-oscron-watch@*.path' >/dev/null 2>&1 || true
    remove_old_units
    [ ! -x "$BIN/hermes-oscron" ] || run timeout 60 "$BIN/hermes-oscron" plugin remove >/dev/null ||
        echo "install.sh: the plugin could not be removed from the agent's config.yaml; see above." >&2
    [ ! -x "$BIN/hermes-oscron" ] || run timeout 300 "$BIN/hermes-oscron" disarm ||
        echo "install.sh: some jobs could not be disarmed; see 'crontab -l' and 'systemctl list-timers'." >&2
    forget_in_state scheduler
    forget_in_state synced
    # From here on no timer can be armed.
    ! is_systems || systemctl --quiet disable --now hermes-oscron-root.socket >/dev/null 2>&1 || true
    ! is_systems || systemctl stop 'hermes-oscron-root@*.service' >/dev/null 2>&1 || true
    if systemctl "$MANAGER" list-units --plain --no-legend >/dev/null 2>&1; then
        timers=$(systemctl "$MANAGER" list-units --all --plain --no-legend --full 'hermes-job@*.timer' | cut -d' ' -f1)
        # shellcheck disable=SC2086
        [ -z "$timers" ] || systemctl "$MANAGER" stop -- $timers
    fi
    rm -rf "$RUNTIME_UNITS"/hermes-job@*.timer
    if is_systems; then
        rm -f /run/hermes-oscron-root.lock
        for unit in $SYSTEM_UNITS; do
            rm -f "$UNIT_DIR/$unit"
        done
        rm -f "$POLKIT_RULES/10-hermes-oscron.rules"
        rm -f "$UNIT_DIR"/user@*.service.d/hermes-oscron.conf
        for folder in $ACCOUNT_UNITS 'user@*.service.d'; do
            # shellcheck disable=SC2086
            rmdir "$UNIT_DIR"/$folder 2>/dev/null || true
        done
    fi
    systemctl "$MANAGER" stop '*-hermes?x2d*.slice' 2>/dev/null || true
    systemctl "$MANAGER" reset-failed 'hermes-job@*' 'hermes-oscron*' 2>/dev/null || true
    for unit in $UNITS; do
        rm -f "$UNIT_DIR/$unit"
    done
    for name in hermes-oscron hermes-cron-exec; do
        [ "$(readlink "$BIN/$name" 2>/dev/null)" != "$PREFIX/venv/bin/$name" ] || rm -f "$BIN/$name"
    done
    rm -rf "$PREFIX"
    systemctl "$MANAGER" daemon-reload 2>/dev/null || true
    echo "Removed hermes-oscron; jobs, outputs and the token stay in $(hermes_root)."
}

# json KEY…: print the value under the keys in the JSON on standard input.
json() {
    "$PLACE/venv/bin/python" -I -c '
import functools, json, sys
print(functools.reduce(lambda at, key: at[int(key) if isinstance(at, list) else key], sys.argv[1:], json.load(sys.stdin)))
' "$@"
}

api() {
    method=$1 path=$2
    shift 2
    # The token comes by standard input, since every account can see the arguments of every process.
    echo "Authorization: Bearer $TOKEN" | curl --silent --show-error --max-time 10 --request "$method" --header @- \
        --header 'Content-Type: application/json' "http://127.0.0.1:$PORT$path" "$@"
}

leave() {
    [ -z "${SERVER:-}" ] || kill "$SERVER" 2>/dev/null || true
    [ -z "${SERVER:-}" ] || wait "$SERVER" 2>/dev/null || true
    if [ "$FIRES" = systemd ]; then
        "$PLACE/venv/bin/hermes-oscron" delete "$id" >/dev/null 2>&1 || true
        systemctl "$MANAGER" stop hermes-oscron-sync.socket 2>/dev/null || true
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
    export HERMES_HOME="$PLACE/hermes"
    make_venv "$PLACE/venv"
    mkdir -p "$HERMES_HOME/scripts"
    printf 'echo "Hello from $HERMES_JOB_NAME, at $(date +%%T)."\n' >"$HERMES_HOME/scripts/hello.sh"
    echo "Installed temporarily in"
    echo "$PLACE"

    if manager_runs && ! systemctl "$MANAGER" cat hermes-job@.service >/dev/null 2>&1; then
        FIRES=systemd
        # shellcheck disable=SC2086
        write_units "$RUNTIME_UNITS" "$PLACE/venv/bin" hermes-job@.service $SYNC_UNITS
        systemctl "$MANAGER" start hermes-oscron-sync.socket
    fi
    TOKEN=$("$PLACE/venv/bin/hermes-oscron" token)
    "$PLACE/venv/bin/hermes-oscron" serve --port 0 --scheduler "$FIRES" >"$PLACE/serve.log" 2>&1 &
    SERVER=$!
    PORT=
    while [ -z "$PORT" ]; do
        kill -0 "$SERVER" 2>/dev/null || { cat "$PLACE/serve.log" >&2; fail "the server did not start."; }
        sleep 0.1
        PORT=$(sed -n 's|^Listening on http://127.0.0.1:\([0-9]*\).*|\1|p' "$PLACE/serve.log")
    done
    case $FIRES in
    systemd) echo "The API is on http://127.0.0.1:$PORT; a systemd timer will fire." ;;
    *) echo "The API is on http://127.0.0.1:$PORT; its server will fire." ;;
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
    [ "$(echo "$job" | json jobs 0 last_status)" = ok ] || fail "the job did not run; the server's log: $(cat "$PLACE/serve.log")"
    api POST /api/crons/delete --data "{\"job_id\": \"$id\"}" >/dev/null
    echo "It works. ./install.sh installs it permanently."
}

dry_run() {
    PLACE=$(mktemp -d)
    if is_systems; then chmod 755 "$PLACE"; fi
    trap 'rm -rf "$PLACE"' EXIT
    make_venv "$PLACE/venv"
    as_owner 300 env HERMES_HOME="${HERMES_HOME:-$(hermes_root)}" "$PLACE/venv/bin/hermes-oscron" adopt --dry-run
}

# Run install.sh again, as the account.
install_for() {
    case $VERB in
    try) set -- --try ;;
    install) set -- --scheduler "$SCHEDULER" ;;
    dry_run) set -- --dry-run ;;
    uninstall) set -- --uninstall ;;
    esac
    prepare_for_account
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    copy_source "$copy" install.sh pyproject.toml README.md hermes_oscron units
    chmod -R a+rX "$copy"
    as_account 3600 env PORT="$PORT" SOCKET="$SOCKET" "$copy/install.sh" "$@"
    exit
}

case ${HERMES_HOME:-/} in
/*) ;;
*) HERMES_HOME=$PWD/$HERMES_HOME ;;
esac

# The working directory may contain modules, commands or settings of other accounts.
cd /

VERB=install
OWNER_HOME=
ACCOUNT=
PYTHON=
CHILD=
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
[ -z "$ACCOUNT" ] || [ "$(id -u)" = 0 ] || [ "$ACCOUNT" = "$(id -un)" ] ||
    fail "--account is for root; you are $(id -un)."
trap 'end 129' HUP
trap 'end 130' INT
trap 'end 143' TERM
choose_places
if [ "$(id -u)" = 0 ]; then
    umask 022
    choose_for_root
fi
"$VERB"
