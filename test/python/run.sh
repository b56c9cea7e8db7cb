#!/usr/bin/env bash
# Writes pruned models with the built library and checks them in transformers. usage: test/python/run.sh   (after npm run build)
# The virtual environment is kept in a cache folder and made again when requirements.txt changes.
# The last line is `N passed, N failed`, one test a checked model.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${XDG_CACHE_HOME:-$HOME/.cache}/fasp-ci/venv
requirements=test/python/requirements.txt

if ! cmp -s "$requirements" "$venv/complete.txt"; then
  echo "Making $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  cp "$requirements" "$venv/complete.txt" # last: an interrupted installation is not complete
fi

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
# Writes model folders and one CASE.json beside each into $out; check_transformers.py defines the form.
"$venv/bin/python" test/python/make_models.py "$out/models" assets/tiny-llama
node test/python/export.mjs "$out"
shopt -s nullglob
"$venv/bin/python" test/python/check_transformers.py "$out"/*.json
