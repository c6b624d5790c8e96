#!/usr/bin/env bash
set -euo pipefail
: "${MEDPIPE_ROOT:?set MEDPIPE_ROOT to the folder of the Snakefile}"
lock="$MEDPIPE_ROOT/envs/requirements.txt"
pip install $(grep -E '^(numpy|setuptools|wheel|versioneer|cython|torch)==' "$lock")
pip install --no-build-isolation -r "$lock"
pip install --no-deps --no-build-isolation -e "$MEDPIPE_ROOT"
