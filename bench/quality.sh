#!/usr/bin/env bash
# Perplexity of SmolLM2-135M dense and pruned, in the protocol of shared/golden/README.md. usage: bench/quality.sh   (after npm run build)
# Prints one JSON line a model and text.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
. bench/measure.sh

evaluate dense "$model"
for cut in 0.2 0.3; do
  measure "ffn+vo-$cut" -s $cut --scope ffn+vo --layout padded --samples 32 --seq-len 1024
  measure "ffn-$cut" -s $cut --scope ffn --layout padded --samples 32 --seq-len 1024
  measure "stock-$cut" -s $cut --samples 32 --seq-len 1024
done
