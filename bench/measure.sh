# Shared by the quality benches: sourced, not run. Needs `out` (a folder) and dist/ built.
shared=${FASP_SHARED:-../shared}
model=$("$shared/scripts/fetch-smollm2.sh")

# evaluate NAME MODEL: one JSON line a text, in the protocol of shared/golden/README.md
evaluate() {
  local file windows
  for text in "wikitext2-test.txt 24" "c4-like.txt 16"; do
    read -r file windows <<<"$text"
    node dist/cli.js eval "$2" --text "$shared/data/eval/$file" --seq-len 1024 --max-windows "$windows" --json 2>/dev/null | tail -n 1 |
      node -e 'const r = JSON.parse(require("fs").readFileSync(0, "utf8")).texts[0]
        console.log(JSON.stringify({ name: process.argv[1], text: process.argv[2], perplexity: r.perplexity, standardError: r.standardError }))' "$1" "$file"
  done
}

# measure NAME OPTIONS…: prunes SmolLM2-135M on WikiText-2 validation and evaluates the result
measure() {
  local name=$1
  shift
  node dist/cli.js prune "$model" "$@" --calibration "$shared/data/calibration/wikitext2-valid.txt" -o "$out/$name" --overwrite >&2 2>/dev/null
  evaluate "$name" "$out/$name"
  rm -rf "${out:?}/$name"
}
