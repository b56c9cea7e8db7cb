#!/usr/bin/env bash
# Checks that the Hub's cache is shared with Python's huggingface_hub. usage: test/python/hub.sh
# 2.4.0 is what transformers 5 runs on, 0.36.2 what transformers 4 does. One virtual environment each, kept in a cache folder.
# The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fasp-ci

pythons=
for version in 2.4.0 0.36.2; do
  venv=$cache/huggingface_hub-$version
  if [[ ! -e $venv/complete ]]; then
    echo "Making $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "huggingface_hub==$version"
    touch "$venv/complete" # last: an interrupted installation is not complete
  fi
  pythons+=${pythons:+:}$venv/bin/python
done

report=$(mktemp)
trap 'rm -f "$report"' EXIT
status=0
FASP_HUB_PYTHONS=$pythons npx vitest run --config test/python/vitest.config.ts \
  --reporter=default --reporter=json --outputFile.json="$report" || status=$?
node scripts/count-tests.mjs "$report" "$status"
