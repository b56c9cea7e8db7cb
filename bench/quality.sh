#!/usr/bin/env bash
# The perplexities of bench/README.md. usage: bench/quality.sh [PART…]   (after npm run build)
#   reach   (default) SmolLM2-135M, 65,536 tokens: FASP as published and the presets, on one calibration text and on two
#   parts   SmolLM2-135M, 16,384 tokens: what each part of the preset best is worth at 30 %
#   bf16    SmolLM2-135M, 65,536 tokens: the presets with products in bf16
#   tokens  SmolLM2-135M: 8 to 128 calibration windows of 512 tokens; by TOKENS="8 16" others
#   tiny    tiny-llama and tiny-opt: 8 to 256 calibration windows
# Goes on where it was stopped, run by run: each run is in bench/results/quality-*.json as soon as it is done. Tables are in bench/results/*.md, curves
# in bench/results/*.svg.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${FASP_SHARED:-../shared}
results=${FASP_RESULTS:-bench/results}
mkdir -p "$results"
short=(--calibration-seq-len 512 --samples)
wikitext=(--calibration "$shared/data/calibration/wikitext2-valid.txt")
novels=(--calibration "$shared/data/calibration/novels.txt")
prose=(--text "$shared/data/prose/war-and-peace.txt" --seq-len 256 --max-windows 64 "${novels[@]}")

# compare NAME MODEL OPTIONS…: into bench/results/quality-NAME.json
compare() {
  local name=quality-$1
  shift
  node dist/cli.js compare "$@" -o "$results/$name.json" --report "$results/$name.md"
}

# smollm2 NAME OPTIONS…: in the protocol of shared/golden/README.md
smollm2() {
  local name=$1 text=$shared/data/eval
  shift
  compare "$name" "$("$shared/scripts/fetch-smollm2.sh")" --text "$text/wikitext2-test.txt" --text "$text/c4-like.txt" \
    --max-windows 24,16 --seq-len 1024 "${wikitext[@]}" "$@"
}

# curve NAME: perplexity against calibration tokens, of bench/results/quality-NAME-*.json
curve() {
  node dist/cli.js report "$results/quality-$1"-*.json -o "$results/quality-$1.svg" --chart tokens --overwrite
}

reach() {
  tokens 128
  smollm2 wikitext "${short[@]}" 128 --methods best -s 0.2,0.3
  smollm2 published "${novels[@]}" --methods paper -s 0.25,0.3 --samples 64
}

parts() {
  local of=best:
  smollm2 parts "${novels[@]}" -s 0.3 "${short[@]}" 32 \
    --methods "best,${of}allocate=uniform,${of}vo=per-head,${of}score=column,${of}target=pruned,${of}scope=ffn,${of}alpha=0.25,${of}alpha=1"
}

bf16() {
  smollm2 bf16 "${novels[@]}" "${short[@]}" 128 -s 0.3 --methods paper:products=bf16,stock:products=bf16,best:products=bf16
}

# tokens [WINDOWS…]
tokens() {
  for samples in ${*:-${TOKENS:-8 16 32 64 128}}; do
    smollm2 "tokens-$samples" "${novels[@]}" "${short[@]}" "$samples" --methods best,stock,paper -s 0.3
  done
  curve tokens
}

tiny() {
  for samples in 8 16 32 64 128 256; do
    for model in assets/tiny-llama test/fixtures/tiny-opt; do
      compare "${model##*/}-$samples" "$model" "${prose[@]}" --methods paper,stock,best -s 0.3 --samples "$samples"
    done
  done
  curve tiny-llama
  curve tiny-opt
}

for part in "${@:-reach}"; do $part; done
