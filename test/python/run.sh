#!/usr/bin/env bash
# Writes pruned models with the built library and checks them in two versions of transformers: the newest, and the oldest that the
# compact layout is written for. usage: test/python/run.sh   (after npm run build)
# The virtual environments are kept in a cache folder and made again when their requirements change.
# The last line is `N passed, N failed`, one test a model and version.
set -euo pipefail
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/fasp-ci

# environment NAME REQUIREMENTS [PATH]: a virtual environment, and with PATH the packages there that it lacks.
environment() {
  local venv=$cache/$1 requirements=$2 borrowed=${3:-}
  cmp -s "$requirements" "$venv/complete.txt" && return
  echo "Making $venv" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$requirements"
  if [[ $borrowed ]]; then echo "$borrowed" >"$(echo "$venv"/lib/python3.*/site-packages)/borrowed.pth"; fi
  cp "$requirements" "$venv/complete.txt" # last: an interrupted installation is not complete
}

environment venv test/python/requirements.txt
# PyTorch has some GB: the second environment uses that of the first.
environment oldest test/python/requirements-oldest.txt "$(echo "$cache"/venv/lib/python3.*/site-packages)"

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
export HF_MODULES_CACHE=$out/modules # the code of compact models is copied there
# Writes model folders and one CASE.json beside each into $out; check_transformers.py defines the form.
"$cache/venv/bin/python" test/python/make_models.py "$out/models" assets/tiny-llama
node test/python/export.mjs "$out"
passed=0
failed=0
shopt -s extglob
# In the oldest, tokens of Qwen2 see all before them, whatever the config says, unless flash attention is there.
declare -A cases=([venv]='*' [oldest]='!(*qwen2-window*)')
for environment in venv oldest; do
  "$cache/$environment/bin/python" test/python/check_transformers.py "$out"/${cases[$environment]}.json | tee "$out/checked.txt" || true
  [[ $(tail -n 1 "$out/checked.txt") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]] || exit 1
  passed=$((passed + BASH_REMATCH[1]))
  failed=$((failed + BASH_REMATCH[2]))
done
echo "$passed passed, $failed failed"
((failed == 0))
