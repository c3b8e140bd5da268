# Sourced by scripts/serve and scripts/test: makes the virtual environment unless it is ready.
#
#   set_up              what requirements.txt and pyproject.toml ask for
#   set_up test         the same and the extra `test`
#
# Afterwards $python is the environment's interpreter and the working directory is the repository root. PANNSCOPE_VENV names another
# folder than .venv, PANNSCOPE_PYTHON the interpreter to build it with.
#
# An environment counts as ready when its stamp says what would be installed now. The stamp is written last, so an interrupted
# installation resumes; a lock keeps two starts apart; an environment that runs is updated, never deleted.
# shellcheck shell=bash

set -euo pipefail

root=$(cd -P "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
venv=${PANNSCOPE_VENV:-.venv}
[[ $venv == /* ]] || venv=$root/$venv
python=$venv/bin/python

say() { printf '%s: %s\n' "scripts/$(basename "$0")" "$*" >&2; }

die() {
    say "$*"
    exit 1
}

# Prints nothing if interpreter $1 is a supported version and can make environments, else one line that says why not.
problem_with() {
    "$1" - 2>/dev/null <<'PYTHON' || echo "$1 does not run"
import sys
version = ".".join(map(str, sys.version_info[:3]))
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    print(sys.executable + " is Python " + version)
    sys.exit()
import importlib.util
if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
    print("%s (Python %s) has no venv module: on Debian and Ubuntu, apt-get install python%d.%d-venv"
          % ((sys.executable, version) + tuple(sys.version_info[:2])))
PYTHON
}

find_interpreter() {
    local candidate problem= first_problem=
    local -a candidates=(python3.11 python3.12 python3.13 python3 python python3.14)
    [[ -z ${PANNSCOPE_PYTHON:-} ]] || candidates=("$PANNSCOPE_PYTHON")
    for candidate in "${candidates[@]}"; do
        type -P "$candidate" >/dev/null || continue
        problem=$(problem_with "$candidate")
        if [[ -z $problem ]]; then
            interpreter=$candidate
            return
        fi
        # A version manager's shim without a version behind it is not worth reporting.
        [[ -n $first_problem || $problem == *"does not run" ]] || first_problem=$problem
    done
    [[ -z ${PANNSCOPE_PYTHON:-} ]] || die "PANNSCOPE_PYTHON=$PANNSCOPE_PYTHON: ${problem:-no such program}; Python 3.11 to 3.14 with venv is needed"
    die "Python 3.11 to 3.14 with venv is needed (${first_problem:-no python3 on the PATH}): install one, or name it in PANNSCOPE_PYTHON"
}

# Whether the environment's interpreter runs, is a supported version and has pip.
runs() {
    "$python" -c '
import pip, sys
raise SystemExit(not ((3, 11) <= sys.version_info[:2] <= (3, 14) and sys.prefix != sys.base_prefix))
' 2>/dev/null
}

# Makes the environment, or repairs one that does not run.
make_environment() {
    if ! "$python" -c '' 2>/dev/null; then
        "$interpreter" -m venv --clear "$venv" || die "$interpreter could not make a virtual environment in $venv"
    elif ! "$python" -m pip --version >/dev/null 2>&1; then
        "$python" scripts/forget_incomplete.py
        "$python" -m ensurepip --default-pip >/dev/null || die "pip is missing in $venv and could not be installed: delete that folder"
    fi
    runs || die "$venv is not of Python 3.11 to 3.14: move it away, or name another folder in PANNSCOPE_VENV"
}

# What would be installed now, as text: the files that say so, and the folder (an editable install points back at it).
wanted() {
    printf '%s\n' "$root" "${1:-}"
    cksum requirements.txt pyproject.toml scripts/torch-cpu/*.*
}

ready() { [[ -f $1 && $(wanted "${2:-}") == "$(<"$1")" ]] && runs; }

set_up() {
    local extra=${1:-} stamp started=$SECONDS interpreter
    local -a quiet=()
    stamp=$venv/pannscope${extra:+-$extra}.stamp
    ! ready "$stamp" "$extra" || return 0

    if [[ -e $venv && ! -e $venv/pyvenv.cfg && -n $(find "$venv" -type f -print -quit) ]]; then
        die "$venv holds files but is not a virtual environment: move them away, or name another folder in PANNSCOPE_VENV"
    fi
    if runs; then interpreter=$python; else find_interpreter; fi
    mkdir -p "$venv"
    # The lock is on the directory itself and belongs to descriptor 9: it outlives the interpreter that asks for it, and is
    # gone with this shell however it ends. No flock program is needed.
    exec 9<"$venv"
    "$interpreter" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
        say "another start is setting up $venv: waiting for it"
        "$interpreter" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
    }
    if ! ready "$stamp" "$extra"; then
        say "installing packages into $venv: one to five minutes the first time"
        make_environment
        if [[ -e $venv/unfinished ]]; then
            "$python" scripts/forget_incomplete.py
        fi
        rm -f "$stamp"
        touch "$venv/unfinished"
        [[ -t 2 ]] || quiet=(--quiet)
        export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0
        # pip before 23.2 downloads a whole wheel to read what it requires: half a gigabyte of CUDA build, for torch.
        # --no-compile: pip compiles every module of every package, more than half of the time; most of them are never imported.
        "$python" -m pip install --quiet "pip>=23.2" >&2 &&
            "$python" -m pip install ${quiet[@]+"${quiet[@]}"} --no-compile -r requirements.txt -e ".${extra:+[$extra]}" >&2 ||
            die "the installation failed (see above); the next start resumes it"
        wanted "$extra" >"$stamp.new"
        mv "$stamp.new" "$stamp"
        if [[ -n $extra ]]; then # which holds for the environment without the extra too
            wanted >"$venv/pannscope.stamp"
        fi
        rm -f "$venv/unfinished"
        say "$venv is ready after $((SECONDS - started)) s"
    fi
    exec 9<&-
}
