#!/usr/bin/env bash
# Time and memory of pruning SmolLM2-135M, ours beside the PyTorch baseline (shared/reference/naive_fasp.py), one after the other.
# usage: bench/against-naive.sh PYTHON [WINDOWS] [RUNS]      (after npm run build; PYTHON has torch, transformers, gguf, accelerate)
# Both prune V/O and FFN by 30 % on WINDOWS × 1024 tokens. Ours counts reading the text, calibrating and writing; the baseline
# counts pruning alone. Prints a Markdown row a run.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 windows=${2:-32} runs=${3:-1}
shared=${FASP_SHARED:-../shared}
model=$("$shared/scripts/fetch-smollm2.sh")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$python" "$shared/reference/gguf_to_hf.py" "$model" "$out/hf" >&2 2>/dev/null

ours() {
  rm -rf "$out/ours"
  node dist/cli.js prune "$model" -s 0.3 --preset paper --calibration "$shared/data/calibration/wikitext2-valid.txt" \
    --samples "$windows" --seq-len 1024 -o "$out/ours" --json 2>/dev/null | tail -n 1 |
    node -e 'const r = JSON.parse(require("fs").readFileSync(0, "utf8"))
      const s = Object.values(r.seconds).reduce((a, b) => a + b)
      console.log(`| fasp ${r.fasp} | ${s.toFixed(1)} | ${Math.round(r.peakMemoryBytes / 2 ** 20)} |`)'
}
baseline() { # label, options
  "$python" "$shared/reference/naive_fasp.py" "$out/hf" "$windows" 1024 "${@:2}" 2>/dev/null |
    node -e 'const r = JSON.parse(require("fs").readFileSync(0, "utf8"))
      console.log(`| ${process.argv[1]} (PyTorch ${r.torch}) | ${r.seconds.toFixed(1)} | ${r.peak_rss_mib} |`)' "$1"
}

echo "| ${windows} × 1024 tokens | seconds | peak MiB |"
echo "|---|---:|---:|"
for _ in $(seq "$runs"); do
  ours
  baseline "naive fp32"
  baseline "naive bf16 products" --bf16
done
