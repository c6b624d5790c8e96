#!/usr/bin/env bash
# Make .venv with the exact versions of envs/requirements.txt and medpipe itself, editable.
# Needs Python 3.11 with venv, a C compiler and the Python headers (PyRadiomics has C code and
# no wheel for Python 3.11); as root on Debian the missing ones are installed, else they are named.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3.11}

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

command -v "$PYTHON" >/dev/null || PYTHON=python3
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
    fail "medpipe needs Python 3.11 or 3.12; set PYTHON=/path/to/python3.11"

version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
missing=()
"$PYTHON" -c 'import ensurepip' 2>/dev/null || missing+=("python$version-venv")
command -v gcc >/dev/null || missing+=(gcc libc6-dev)
"$PYTHON" - <<'PY' || missing+=("python$version-dev")
import pathlib, sys, sysconfig
sys.exit(not pathlib.Path(sysconfig.get_path("include"), "Python.h").exists())
PY
if ((${#missing[@]})); then
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        fail "missing on this machine; run: sudo apt-get install ${missing[*]}"
    fi
fi

[[ -x .venv/bin/python ]] || "$PYTHON" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet "$@"; }

# PyRadiomics' setup imports these before it can say that it needs them.
grep -E '^(numpy|setuptools|wheel|versioneer|cython)==' envs/requirements.txt >.venv/build.txt
pip install -r .venv/build.txt
# torch alone and first: the other packages then accept the build that is there.
grep -E '^torch==' envs/requirements.txt >.venv/torch.txt
pip install -r .venv/torch.txt
pip install --no-build-isolation -r envs/requirements.txt
pip install --no-deps --no-build-isolation --editable .
.venv/bin/medpipe doctor
