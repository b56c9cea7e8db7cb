#!/usr/bin/env bash
# Perplexity of pruned models, in the protocol of shared/golden/README.md. usage: bench/quality.sh [PART…]   (after npm run build)
#   table   (default) SmolLM2-135M dense, as published, and the presets, on one calibration text and on two: the README's table
#   parts   what each part of the preset best is worth, at 30 %
#   cuts    10, 20, 30, 50 % with each preset
#   tokens  8 to 256 calibration windows with the preset best
#   opt     tiny-opt at 10, 20, 30, 50 %
# Prints one JSON line a model and text. A SmolLM2 model takes some minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
. bench/measure.sh
half=(--calibration "$wikitext" --calibration "$novels")

table() {
  evaluate dense "$model"
  for cut in 0.2 0.3; do
    measure "paper-$cut" -s $cut --preset paper --samples 64
    measure "best-$cut" -s $cut --preset best --samples 64
    measure "stock-$cut" -s $cut --preset stock --samples 64
    measure "plain-$cut" -s $cut --samples 64
  done
  measure paper-0.25 -s 0.25 --preset paper --samples 64
  for preset in paper best stock; do measure "$preset-0.3-half" -s 0.3 --preset $preset --samples 64 "${half[@]}"; done
}

parts() {
  local all=(-s 0.3 --preset best --samples 32)
  measure best "${all[@]}"
  measure "uniform widths" "${all[@]}" --allocate uniform
  measure "value channels per head" "${all[@]}" --vo per-head
  measure "column score" "${all[@]}" --score column
  measure "pruned target" "${all[@]}" --target pruned
  measure "FFN only" "${all[@]}" --scope ffn
  for alpha in 0.25 0.75 1; do measure "alpha $alpha" "${all[@]}" --alpha $alpha; done
  for tokens in 256 512 2048; do measure "probe of $tokens tokens" "${all[@]}" --probe-tokens $tokens; done
}

cuts() {
  for cut in 0.1 0.2 0.3 0.5; do
    for preset in paper stock best; do measure "$preset-$cut" -s $cut --preset $preset --samples 32 "${half[@]}"; done
  done
}

tokens() {
  for samples in 8 16 32 64 128 256; do
    measure "best-$samples" -s 0.3 --preset best --samples $samples "${half[@]}"
    measure "paper-$samples" -s 0.3 --preset paper --samples $samples "${half[@]}"
  done
}

opt() {
  local model="$shared/models/tiny-opt" seqLen=256 texts=("$shared/data/prose/war-and-peace.txt 64")
  evaluate dense "$model"
  for cut in 0.1 0.2 0.3 0.5; do
    for preset in paper stock best; do
      measure "$preset-$cut" -s $cut --preset $preset --samples 128 --calibration "$novels"
    done
  done
}

for part in "${@:-table}"; do $part; done
