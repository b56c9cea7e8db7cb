#!/usr/bin/env bash
# The perplexities of bench/README.md. usage: bench/quality.sh [PART…]   (after npm run build)
#   reach   (default) SmolLM2-135M, 65,536 tokens: FASP as published and ours, on one calibration text and on two
#   parts   SmolLM2-135M, 16,384 tokens: what each part of method best is worth at 30 %
#   bf16    SmolLM2-135M, 65,536 tokens: the same with products in bf16
#   tokens  SmolLM2-135M: 8 to 128 calibration windows of 512 tokens; by TOKENS="8 16" others
#   heal    SmolLM2-135M at 30 %, half WikiText-2, half novels: perplexity on three domains against tokens of healing; by HEAL="65536" others
#   broad   SmolLM2-135M: best at 20, 30 and 50 % and stock at 30 %, on four texts, healed on 262,144 tokens; best at 30 % on a fifth, too
#   tasks   SmolLM2-135M: all items of the seven tasks by these and by the others at 30 %, and differences to dense and to best, item by
#           item; by TASKS="dense paper-0.3" of others
#   tiny    tiny-llama and tiny-opt: 8 to 256 calibration windows
# Goes on where it was stopped, run by run: each run is in bench/results/quality-*.json as soon as it is done. Tables are in bench/results/*.md, curves
# in bench/results/*.svg.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${FASP_SHARED:-../shared}
results=${FASP_RESULTS:-bench/results}
mkdir -p "$results"
cache=${FASP_BENCH_CACHE:-$HOME/.cache/fasp-bench}/quality
short=(--calibration-seq-len 512 --windows)
wikitext=(--calibration "$shared/data/calibration/wikitext2-valid.txt")
novels=(--calibration "$shared/data/calibration/novels.txt")
prose=(--text "$shared/data/prose/war-and-peace.txt" --seq-len 256 --text-windows 64 "${novels[@]}")

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
    --text-windows 24,16 --seq-len 1024 "${wikitext[@]}" "$@"
}

# curve NAME: perplexity against calibration tokens, of bench/results/quality-NAME-*.json
curve() {
  node dist/cli.js report "$results/quality-$1"-*.json -o "$results/quality-$1.svg" --chart tokens --overwrite
}

reach() {
  tokens 128
  smollm2 wikitext "${short[@]}" 128 --methods best -s 0.2,0.3
  smollm2 published "${novels[@]}" --methods paper -s 0.25,0.3 --windows 64
}

parts() {
  local of=best: uniform=plain:scope=ffn+rotate:score=eliminate:repair=aligned:layout=compact
  smollm2 parts "${novels[@]}" -s 0.3 "${short[@]}" 32 \
    --methods "best,$uniform,${of}scope=ffn+per-head,${of}score=column,${of}repair=pruned,${of}scope=ffn,${of}alpha=0.25,${of}alpha=1"
}

bf16() {
  smollm2 bf16 "${novels[@]}" "${short[@]}" 128 -s 0.3 --products bf16 --methods paper,stock,best
}

# On a novel, too; C4-like is the domain that nothing is calibrated on.
heal() {
  compare heal "$("$shared/scripts/fetch-smollm2.sh")" --text "$shared/data/eval/wikitext2-test.txt" \
    --text "$shared/data/eval/c4-like.txt" --text "$shared/data/eval/prose-heldout.txt" --text-windows 24,16,16 --seq-len 1024 \
    "${wikitext[@]}" "${novels[@]}" "${short[@]}" 128 -s 0.3 --methods best,stock --heal "${HEAL:-32768,65536,131072,262144}" --lr 3e-4
  node dist/cli.js report "$results/quality-heal.json" -o "$results/quality-heal.svg" --chart healing --overwrite
}

four() {
  python3 bench/texts.py "$cache"
  broad=("${wikitext[@]}" "${novels[@]}" --calibration "$cache/boolq-passages.txt" --calibration "$cache/mixed.txt")
  dense=$("$shared/scripts/fetch-smollm2.sh")
}

# once OUTPUT COMMAND…: unless OUTPUT is there; goes on with what was stopped
once() {
  local output=$1
  shift
  [ -e "$output" ] || node dist/cli.js "$@" -o "$output" --resume
}

# pruned METHOD SPARSITY WINDOWS [TEXT]: into CACHE/METHOD-SPARSITY, on a fifth text into CACHE/METHOD-SPARSITY-TEXT
pruned() {
  once "$cache/$1-$2${4:+-$4}" prune "$dense" --method "$1" -s "$2" "${broad[@]}" ${4:+--calibration "$4"} --windows "$3" --seq-len 512
}

# healed METHOD SPARSITY WINDOWS: this, healed, into CACHE/METHOD-SPARSITY-healed
healed() {
  pruned "$@"
  once "$cache/$1-$2-healed" heal "$cache/$1-$2" --dense "$dense" "${broad[@]}" --tokens 262144 --held-out 4 --every 32 --lr 2e-4
}

# perplexities MODEL…: printed, a JSON line for each model and text
perplexities() {
  local model text
  for model in "$@"; do
    for text in wikitext2-test:24 c4-like:16 prose-heldout:16; do
      node dist/cli.js eval "$model" --text "$shared/data/eval/${text%:*}.txt" --windows "${text#*:}" --seq-len 1024 --json
    done
  done
}

broad() {
  local run model
  four
  for run in "best 0.3 512" "best 0.5 256" "stock 0.3 256" "best 0.2 512"; do
    healed $run
    model=${run% *}
    perplexities "$cache/${model/ /-}"{,-healed}
  done
  pruned best 0.3 640 self
  perplexities "$cache/best-0.3-self"
}

# scored NAME MODEL COMMAND…: which items MODEL has right, into bench/results/outcomes/NAME.json; COMMAND makes it, unless this is there
scored() {
  local name=$1 model=$2 kept=$results/outcomes/$1.json
  shift 2
  [ -e "$kept" ] && return
  "$@"
  python3 bench/tasks.py all "$model" --out "$cache/tasks/$name"
  python3 bench/tasks.py outcomes "$cache/tasks/$name" > "$kept.part"
  mv "$kept.part" "$kept"
}

# Few tokens are enough for those that fit nothing to them; sleb goes over them hundreds of times.
windows() {
  case $1 in
    best) echo 512 ;;
    stock | paper | osscar) echo 256 ;;
    flap | wanda-sp | shortgpt) echo 128 ;;
    sleb) echo 32 ;;
    magnitude | random) echo 4 ;;
  esac
}

# A name is METHOD-SPARSITY, with -healed for the healed one, or dense.
TASKS=${TASKS:-dense best-0.2-healed best-0.2 best-0.3-healed best-0.3 stock-0.3 paper-0.3 osscar-0.3 flap-0.3 wanda-sp-0.3 shortgpt-0.3
  sleb-0.3 magnitude-0.3 random-0.3}

tasks() {
  local name run method make
  four
  mkdir -p "$results/outcomes"
  for name in $TASKS; do
    make=pruned run=${name%-healed}
    method=${run%-*}
    [ "$run" = "$name" ] || make=healed
    if [ "$name" = dense ]; then scored dense "$dense" true
    else scored "$name" "$cache/$name" "$make" "$method" "${run##*-}" "$(windows "$method")"; fi
  done
  python3 bench/tasks.py pairs "$results"/outcomes/{dense,best-0.2*}.json
  for name in best-0.3{,-healed}; do python3 bench/tasks.py pairs "$results/outcomes/$name.json" "$results"/outcomes/*-0.3.json; done
}

# tokens [WINDOWS…]
tokens() {
  for windows in ${*:-${TOKENS:-8 16 32 64 128}}; do
    smollm2 "tokens-$windows" "${novels[@]}" "${short[@]}" "$windows" --methods best,stock,paper -s 0.3
  done
  curve tokens
}

tiny() {
  for windows in 8 16 32 64 128 256; do
    for model in assets/tiny-llama test/fixtures/tiny-opt; do
      compare "${model##*/}-$windows" "$model" "${prose[@]}" --methods paper,stock,best -s 0.3 --windows "$windows"
    done
  done
  curve tiny-llama
  curve tiny-opt
}

for part in "${@:-reach}"; do $part; done
