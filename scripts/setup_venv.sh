# Sourced by the other scripts: setup_venv EXTRA... makes .venv in the checkout with dynalang_py (editable) and the named
# extras, at the versions of constraints.txt, and puts it first on PATH. What is already there and current is left alone.
# The environment variable PYTHON names the interpreter to build it with.
# shellcheck shell=bash

CPU_INDEX=https://download.pytorch.org/whl/cpu

fail() {
    echo "$*" >&2
    exit 2
}

find_python() {
    local candidate found=""
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python}; do
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$candidate" && return
        found+=" $("$candidate" --version 2>&1 | grep '^Python' || true)"
    done
    fail "dynalang_py needs Python 3.10 or newer, but here is only:${found:- none}. Install a newer one, for instance with" \
        "'apt install python3.11 python3.11-venv', or name the one to use: PYTHON=/path/to/python3.11 $0"
}

has_gpu() {
    command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q '^GPU'
}

pip_install() {
    .venv/bin/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt "$@"
}

install_torch() {
    # On other systems and with a GPU the default index has the build that fits. --no-deps, because the extra index is
    # trusted with torch alone; the rest comes with dynalang_py.
    local torch
    torch=$(grep '^torch==' constraints.txt)
    if [ "$(uname -s)" != Linux ] || has_gpu; then
        pip_install "$torch"
    elif ! pip_install --no-deps --retries 1 --timeout 20 --extra-index-url "$CPU_INDEX" "$torch+cpu" 2>/dev/null; then
        echo "No CPU build of torch can be had from $CPU_INDEX; taking what the default index has (it may be large)."
        pip_install "$torch"
    fi
}

setup_venv() {
    local python base extra
    python=$(find_python)
    # Another interpreter, another place, or other requirements: begin anew rather than mix two environments.
    base=$({
        pwd
        "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
        cat setup.py constraints.txt scripts/setup_venv.sh
    } | cksum)
    if [ "$(cat .venv/base 2>/dev/null)" != "$base" ]; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            fail "$python cannot make virtual environments; on Debian and Ubuntu 'apt install" \
                "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')' adds that."
        echo "Making .venv with $("$python" --version) ..."
        "$python" -m venv --clear .venv
        pip_install pip setuptools
        echo "Installing torch ..."
        install_torch
        echo "$base" >.venv/base
    fi
    for extra in "$@"; do
        [ ! -e ".venv/has-$extra" ] || continue
        echo "Installing dynalang_py[$extra] ..."
        if [ "$extra" = langroom ]; then # no extra: it never imports the pygame it asks for, which would overwrite another
            pip_install --no-deps langroom
        else
            pip_install --no-build-isolation --editable ".[$extra]"
        fi
        touch ".venv/has-$extra"
    done
    PATH=$PWD/.venv/bin:$PATH
}
