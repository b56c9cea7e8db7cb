#!/usr/bin/env bash
# The perplexities of bench/README.md. usage: bench/quality.sh [PART…]   (after npm run build)
#   reach   (default) SmolLM2-135M, 65,536 tokens: FASP as published and ours, on one calibration text and on two
#   parts   SmolLM2-135M, 16,384 tokens: what each part of method best is worth at 30 %
#   bf16    SmolLM2-135M, 65,536 tokens: the same with products in bf16
#   tokens  SmolLM2-135M: 8 to 128 calibration windows of 512 tokens; by TOKENS="8 16" others
#   heal    SmolLM2-135M at 30 %, half WikiText-2, half novels: perplexity on three domains against tokens of healing, into docs/healing.svg,
#           by HEAL="65536" others; and whether it overfits on 16 windows, again and again
#   broad   SmolLM2-135M: best at 30 and 50 % and stock at 30 % on four texts, best at 20 and 30 % on five, at 20 % on six, each healed on
#           262,144 tokens
#   tasks   SmolLM2-135M: all items of the seven tasks by these and by the others at 30 %, and differences to dense and to best, item by
#           item; by TASKS="dense paper-0.3" of others
#   tiny    tiny-llama and tiny-opt: 8 to 256 calibration windows
# PRODUCTS=bf16 prunes and heals the models of broad and tasks so.
# Goes on where it was stopped, run by run: each run is in bench/results/quality-*.json as soon as it is done. Tables are in bench/results/*.md, curves
# in bench/results/*.svg.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${FASP_SHARED:-../shared}
results=${FASP_RESULTS:-bench/results}
mkdir -p "$results"
cache=${FASP_BENCH_CACHE:-$HOME/.cache/fasp-bench}/quality
short=(--calibration-seq-len 512 --windows)
products=(--products "${PRODUCTS:-float32}")
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
  local two=("${wikitext[@]}" "${novels[@]}")
  dense=$("$shared/scripts/fetch-smollm2.sh")
  compare heal "$dense" --text "$shared/data/eval/wikitext2-test.txt" \
    --text "$shared/data/eval/c4-like.txt" --text "$shared/data/eval/prose-heldout.txt" --text-windows 24,16,16 --seq-len 1024 \
    "${two[@]}" "${short[@]}" 128 -s 0.3 --methods best --heal "${HEAL:-32768,65536,131072,262144}" --lr 2e-4
  node dist/cli.js report "$results/quality-heal.json" -o docs/healing.svg --chart healing --overwrite
  once "$cache/best-0.3-two" prune "$dense" --method best -s 0.3 "${two[@]}" --windows 128 --seq-len 512 --held-out 0
  once "$cache/best-0.3-two-few" heal "$cache/best-0.3-two" --dense "$dense" "${two[@]}" --windows 16 --tokens 131072 --held-out 8 \
    --every 4 --lr 2e-4
  perplexities "$cache"/best-0.3-two{,-few}
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

# windows NAME: to prune on. Few are enough for those that fit nothing to them; sleb goes over them hundreds of times.
windows() {
  case $1 in
    best-*-self) echo 640 ;;
    best-*-six) echo 768 ;;
    best-*-eight) echo 672 ;;
    best-0.5) echo 256 ;;
    best-*) echo 512 ;;
    stock-* | paper-* | osscar-*) echo 256 ;;
    flap-* | wanda-sp-* | shortgpt-*) echo 128 ;;
    sleb-*) echo 32 ;;
    magnitude-* | random-*) echo 4 ;;
  esac
}

# method NAME: what is pruned with. At 30 % each of five texts has two windows of the probe, at 20 % of six and of eight.
method() {
  case $1 in
    best-0.3-self) echo best:probe-tokens=2560 ;;
    best-*-six) echo best:probe-tokens=3072 ;;
    best-*-eight) echo best:probe-tokens=4096 ;;
    *) echo "${1%%-[0-9]*}" ;;
  esac
}

# answers: two more of `texts`: what the dense model says to questions of ours, how to do things and others
answers() {
  local name
  for name in how-to questions; do
    [ -e "$cache/$name.txt" ] || node bench/answers.mjs "$dense" "bench/$name.txt" "$cache/$name.txt"
    texts+=(--calibration "$cache/$name.txt")
  done
}

# made NAME: into CACHE/NAME. A name is METHOD-SPARSITY, then -self where there is a fifth text, which the model writes, or -six where there is the
# Brown corpus, too, or -eight where there are its answers besides; then -healed, on as much of each text, -half-million or -million; of five
# texts the model writes three times as much for a million as there is of each other.
made() {
  local of healing=(--dense "$dense" --held-out 4 --every 32) texts=("${broad[@]}")
  case $1 in
    *-healed) healing+=(--tokens 262144 --lr 2e-4) ;;
    *-self-million) healing+=(--tokens 1048576 --lr 3e-4 --calibration self --calibration self) ;;
    *-half-million) healing+=(--tokens 524288 --lr 3e-4) ;;
    *-million) healing+=(--tokens 1048576 --lr 3e-4) ;;
  esac
  of=${1%-healed} of=${of%-million} of=${of%-half}
  case $of in
    *-self) texts+=(--calibration self) ;;
    *-six | *-eight) texts+=(--calibration "$cache/brown.txt" --calibration self) ;;
  esac
  [[ $of != *-eight ]] || answers
  if [ "$of" = "$1" ]; then
    [[ $of =~ 0\.[0-9]+ ]]
    once "$cache/$1" prune "$dense" --method "$(method "$1")" -s "${BASH_REMATCH[0]}" "${texts[@]}" --windows "$(windows "$1")" --seq-len 512 \
      "${products[@]}"
  else
    made "$of"
    once "$cache/$1" heal "$cache/$of" "${texts[@]}" "${healing[@]}" "${products[@]}"
  fi
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
  local name
  four
  for name in best-0.3 best-0.5 stock-0.3 {best-0.3,best-0.2}-self best-0.2-six; do
    made "$name-healed"
    perplexities "$cache/$name"{,-healed}
  done
}

# scored NAME: which items the model of this name, or dense, has right, into bench/results/outcomes/NAME.json
scored() {
  local model=$dense kept=$results/outcomes/$1.json
  [ -e "$kept" ] && return
  if [ "$1" != dense ]; then
    made "$1"
    model=$cache/$1
  fi
  python3 bench/tasks.py all "$model" --out "$cache/tasks/$1"
  python3 bench/tasks.py outcomes "$cache/tasks/$1" > "$kept.part"
  mv "$kept.part" "$kept"
}

TASKS=${TASKS:-dense best-0.2-self-healed best-0.2-self-million best-0.2-six-healed best-0.2-six-million best-0.2-eight-half-million
  best-0.2-eight-million best-0.2-self best-0.3-self-healed best-0.3-self stock-0.3 paper-0.3 osscar-0.3 flap-0.3 wanda-sp-0.3
  shortgpt-0.3 sleb-0.3 magnitude-0.3 random-0.3}

tasks() {
  local name kept=$results/outcomes
  four
  mkdir -p "$kept"
  for name in $TASKS; do scored "$name"; done
  for name in dense best-0.3-self{,-healed}; do
    [ ! -e "$kept/$name.json" ] || python3 bench/tasks.py pairs "$kept/$name.json" $(ls "$kept"/*-0.?*.json | grep -v "/$name.json")
  done
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
