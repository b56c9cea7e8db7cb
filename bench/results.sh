#!/usr/bin/env bash
# The comparison of docs/results.md. usage: bench/results.sh [PART…]   (after npm run build)
#   tasks    (default) SmolLM2-135M: paper, stock, best and FLAP at 20 and 30 %, on both texts and the seven tasks, 200 items of each
#   cuts     (default) SmolLM2-135M: these at 10 and 50 %, on both texts
#   methods  (default) SmolLM2-135M: every other method at 20 and 30 %, on both texts
#   opt      (default) tiny-opt: every method at 10 to 50 %
#   gemma3   (default) Gemma 3 270M: paper, stock, best, FLAP and wanda-sp at 20 and 30 %, on both texts; stock and best again with the
#            vocabulary cut to English prose
#   page     (default) tables and chart of docs/results.md from these, and bench/results/smollm2.md, the first three as one
# Goes on where it was stopped, run by run: each run is in bench/results/*.json as soon as it is done. OPTIONS="--threads 1" adds options.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${FASP_SHARED:-../shared}
results=${FASP_RESULTS:-bench/results}
mkdir -p "$results"
baselines=flap,wanda-sp,magnitude,random,osscar,shortgpt,sleb
four=paper,stock,best,flap
calibration=(--calibration "$shared/data/calibration/wikitext2-valid.txt" --calibration "$shared/data/calibration/novels.txt")
texts=(--text "$shared/data/eval/wikitext2-test.txt" --text "$shared/data/eval/c4-like.txt" --text-windows 12,8)

# compare NAME MODEL OPTIONS…: into bench/results/NAME.json
compare() {
  local name=$1
  shift
  node dist/cli.js compare "$@" ${OPTIONS:-} -o "$results/$name.json" --report "$results/$name.md"
}

# half NAME MODEL OPTIONS…: calibrated on 16 windows of 1024 tokens, half of each kind
half() {
  compare "$@" "${calibration[@]}" --windows 16 --seq-len 1024
}

smollm2() {
  local name=$1
  shift
  half "$name" "$("$shared/scripts/fetch-smollm2.sh")" "$@"
}

tasks() {
  python3 bench/tasks.py write "$results/tasks"
  smollm2 smollm2-tasks "${texts[@]}" --methods "$four" -s 0.2,0.3 --limit 200 --tasks-data "$results/tasks" \
    --tasks arc_easy,arc_challenge,boolq,hellaswag,openbookqa,piqa,winogrande
}

cuts() {
  smollm2 smollm2-cuts "${texts[@]}" --methods "$four" -s 0.1,0.5
}

methods() {
  smollm2 smollm2-methods "${texts[@]}" --methods "${baselines#flap,}" -s 0.2,0.3
}

opt() {
  compare tiny-opt test/fixtures/tiny-opt --methods "paper,stock,best,plain,$baselines" -s 0.1,0.2,0.3,0.5 --seq-len 256 \
    --text "$shared/data/prose/war-and-peace.txt" --text-windows 64 --calibration "$shared/data/calibration/novels.txt" --windows 128
}

gemma3() {
  local model english vocabulary=() text
  model=$("$shared/scripts/fetch-gemma3.sh")
  english=${FASP_BENCH_CACHE:-$HOME/.cache/fasp-bench}/gemma3-english.gguf
  for text in "$shared"/data/prose/austen/*.txt "$shared"/data/calibration/*.txt; do vocabulary+=(--vocabulary "$text"); done
  mkdir -p "$(dirname "$english")"
  node dist/cli.js export "$model" "${vocabulary[@]}" -o "$english" --overwrite
  half gemma3 "$model" "${texts[@]}" --methods paper,stock,best,flap,wanda-sp -s 0.2,0.3
  half gemma3-english "$english" "${texts[@]}" --methods stock,best -s 0.2,0.3
}

page() {
  local smollm2=("$results"/smollm2-{tasks,cuts,methods}.json)
  node dist/cli.js report "${smollm2[@]}" -o "$results/smollm2.md" --overwrite
  node dist/cli.js report "${smollm2[@]}" -o docs/results.svg --chart perplexity --overwrite
  node bench/results-page.mjs
}

for part in "${@:-tasks cuts methods opt gemma3 page}"; do for one in $part; do $one; done; done
