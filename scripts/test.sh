#!/usr/bin/env bash
# Lint, types and tests, from a bare checkout: makes .venv first if it is missing or stale. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_venv.sh

setup_venv homegrid babyai langroom vln text dev
ruff check
ruff format --check
scripts/types.sh
pytest "$@"
