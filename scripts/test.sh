#!/usr/bin/env bash
# Lint, types and tests, from a bare checkout: makes .venv first if it is missing or stale. Tests run in a process for
# each core, of eight at most. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_venv.sh

setup_venv homegrid babyai langroom vln text dev
ruff check
ruff format --check
scripts/types.sh
pytest --numprocesses auto --maxprocesses 8 --dist worksteal "$@"
