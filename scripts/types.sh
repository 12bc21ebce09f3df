#!/usr/bin/env bash
# Checks the types. mypy knows no package_dir, so it gets a view of the checkout in which every folder lies where it is
# imported from.
set -euo pipefail
cd "$(dirname "$0")/.."

view=.mypy_cache/view
rm -rf "$view"
mkdir -p "$view/dynalang_py"
ln -s "$PWD"/dynalang_py/* "$PWD/envs" "$PWD/tokenizers" "$view/dynalang_py/"
mypy "$@" | sed "s|^$view/dynalang_py/\(envs\|tokenizers\)/|\1/|; s|^$view/||"
