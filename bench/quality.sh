#!/usr/bin/env bash
# Perplexity of SmolLM2-135M dense and pruned, in the protocol of shared/golden: usage: bench/quality.sh [OUT]   (after npm run build)
# Prints one JSON line a model, with the reference's figures from shared/golden/README.md in docs/quality.md beside them.
set -euo pipefail
cd "$(dirname "$0")/.."
shared=${FASP_SHARED:-../shared}
model=$("$shared/scripts/fetch-smollm2.sh")
out=${1:-$(mktemp -d)}

evaluate() { # name, model
  for text in "wikitext2-test.txt 24" "c4-like.txt 16"; do
    read -r file windows <<<"$text"
    node dist/cli.js eval "$2" --text "$shared/data/eval/$file" --seq-len 1024 --max-windows "$windows" --json 2>/dev/null | tail -n 1 |
      node -e 'const r = JSON.parse(require("fs").readFileSync(0, "utf8")).texts[0]
        console.log(JSON.stringify({ name: process.argv[1], text: process.argv[2], perplexity: r.perplexity, standardError: r.standardError }))' "$1" "$file"
  done
}

prune() { # name, options
  local name=$1
  shift
  node dist/cli.js prune "$model" "$@" --layout padded --calibration "$shared/data/calibration/wikitext2-valid.txt" \
    --samples 32 --seq-len 1024 -o "$out/$name" --overwrite >&2 2>/dev/null
  evaluate "$name" "$out/$name"
}

evaluate dense "$model"
prune paper-0.2 -s 0.2 --scope ffn+vo
prune paper-0.3 -s 0.3 --scope ffn+vo
prune ffn-0.2 -s 0.2 --scope ffn
prune ffn-0.3 -s 0.3 --scope ffn
