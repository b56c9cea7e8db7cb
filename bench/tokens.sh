#!/usr/bin/env bash
# How many calibration tokens are enough: SmolLM2-135M, 30 %, preset paper, by windows of 1024 tokens. usage: bench/tokens.sh [WINDOWS…]
# Prints one JSON line a model and text. After npm run build.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
. bench/measure.sh

for windows in "${@:-4 8 16 32 64 128}"; do
  for n in $windows; do measure "paper-0.3-$n" -s 0.3 --preset paper --samples "$n" --seq-len 1024; done
done
