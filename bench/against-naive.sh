#!/usr/bin/env bash
# Time and memory of bench/workload.mjs, ours beside the PyTorch baseline (shared/reference/naive_fasp.py), one after the other.
# usage: [BF16=1] [BLAS=path] bench/against-naive.sh PYTHON WORKLOAD [RUNS] [WINDOWS]
#   (after npm run build; PYTHON has torch, transformers, gguf, accelerate)
# WORKLOAD: smollm2 (the real SmolLM2-135M), opt-125m, llama-7b-4, llama-7b-8, quick. Both prune V/O and FFN by 30 % on as many random
# tokens. Ours counts opening, reading and writing the model; the baseline counts pruning alone, on a model that is loaded already.
# Prints a Markdown table; `ratio` is the seconds of a row over those of ours, in float32, in the same run. Ours runs in products by bf16,
# too, where the CPU with OpenVINO's plugin has them, and in float32 with a BLAS (BLAS=path for another
# than `auto` finds), where there is one; the bound is ONNX Runtime's own in all rows. The baseline runs in products by
# bf16, too, where the CPU has them, or with BF16=1.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 workload=$2 runs=${3:-1} windows=${4:-}
shared=${FASP_SHARED:-../shared}
out=$(mktemp -d "${TMPDIR:-/tmp}/fasp-naive.XXXXXX")
trap 'rm -rf "$out"' EXIT
quietly() { # runs a command; of its stderr the end, where it fails
  "$@" 2>"$out/stderr" || { tail -n 5 "$out/stderr" >&2; return 1; }
}
model=() naive=("$out/model")
case $workload in
  smollm2)
    source=$("$shared/scripts/fetch-smollm2.sh")
    model=(--model "$source")
    quietly "$python" "$shared/reference/gguf_to_hf.py" "$source" "$out/model" >&2
    ;;
  opt-125m) naive=("$shared/models/opt-125m-shape" --random) ;;
esac
baselines=(fp32)
if [ "${BF16:-}" ] || grep -qwE 'avx512_bf16|amx_bf16|bf16' /proc/cpuinfo; then
  baselines+=(bf16)
else
  echo 'Left out: products by bf16, which this CPU has no instructions for; one takes PyTorch minutes. BF16=1 runs them.' >&2
fi

field() { # JSON, expression over r
  node -e "const r = JSON.parse(process.argv[1]); console.log($2)" "$1"
}
row() { # label, seconds, MiB
  node -e 'const [, label, s, mib, ours] = process.argv
    console.log(`| ${label} | ${Number(s).toFixed(1)} | ${(s / ours).toFixed(2)} | ${Math.round(mib)} |`)' "$@" "$seconds"
}

bench() { # options of bench/workload.mjs; prints its result
  local size=("$workload" "${model[@]}" ${windows:+--windows "$windows"})
  quietly node bench/workload.mjs "${size[@]}" --keep "$out" "$@"
}

first=1
for _ in $(seq "$runs"); do
  ours=$(bench --blas none)
  seconds=$(field "$ours" r.totalSeconds)
  if [ "$first" ]; then
    field "$ours" '`| ${r.workload.name}, ${r.workload.windows} × ${r.workload.seqLen} tokens | seconds | ratio | peak MiB |\n|---|---:|---:|---:|`'
    first=
  fi
  row "fasp, $(field "$ours" '`${r.overBound.toFixed(2)} × the bound`')" "$seconds" "$(field "$ours" 'r.peakMemoryBytes / 2 ** 20')"
  if fewer=$(bench --products bf16 --blas none); then
    row 'fasp, `--products bf16`' "$(field "$fewer" r.totalSeconds)" "$(field "$fewer" 'r.peakMemoryBytes / 2 ** 20')"
  fi
  if other=$(bench --blas "${BLAS:-auto}"); then
    row "fasp, $(field "$other" '`${r.machine.blas}, ${r.overBound.toFixed(2)} × the bound`')" "$(field "$other" r.totalSeconds)" "$(field "$other" 'r.peakMemoryBytes / 2 ** 20')"
  fi
  for products in "${baselines[@]}"; do
    flags=()
    if [ $products = bf16 ]; then flags=(--bf16); fi
    size=("$(field "$ours" r.workload.windows)" "$(field "$ours" r.workload.seqLen)")
    args=("${naive[0]}" "${size[@]}" "${naive[@]:1}" "${flags[@]}")
    theirs=$(quietly "$python" "$shared/reference/naive_fasp.py" "${args[@]}" | tail -n 1)
    row "naive, $products products (PyTorch $(field "$theirs" r.torch))" "$(field "$theirs" r.seconds)" "$(field "$theirs" r.peak_rss_mib)"
  done
done
