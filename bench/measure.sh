# Shared by the quality benches: sourced, not run. Needs `out` (a folder) and dist/ built.
shared=${FASP_SHARED:-../shared}
model=$("$shared/scripts/fetch-smollm2.sh")
wikitext="$shared/data/calibration/wikitext2-valid.txt"
novels="$shared/data/calibration/novels.txt"
seqLen=1024
texts=("$shared/data/eval/wikitext2-test.txt 24" "$shared/data/eval/c4-like.txt 16")

# evaluate NAME MODEL [FIELDS]: one JSON line a text, in the protocol of shared/golden/README.md unless `texts` and `seqLen` say otherwise
evaluate() {
  local file windows
  for text in "${texts[@]}"; do
    read -r file windows <<<"$text"
    node dist/cli.js eval "$2" --text "$file" --seq-len "$seqLen" --max-windows "$windows" --json 2>/dev/null | tail -n 1 |
      node -e 'const { perplexity, standardError } = JSON.parse(require("fs").readFileSync(0, "utf8")).texts[0]
        const [name, path, fields] = process.argv.slice(1)
        console.log(JSON.stringify({ name, text: path.split("/").at(-1), perplexity, standardError, ...JSON.parse(fields) }))' "$1" "$file" "${3:-{\}}"
  done
}

# measure NAME OPTIONS…: prunes `model`, on WikiText-2 validation unless the options name texts, and evaluates the result
measure() {
  local name=$1 fields
  shift
  [[ " $* " == *" --calibration "* ]] || set -- "$@" --calibration "$wikitext"
  node dist/cli.js prune "$model" "$@" --seq-len "$seqLen" -o "$out/$name" --overwrite --json 2>/dev/null | tail -n 1 >"$out/$name.json"
  fields=$(node -e 'const r = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"))
    const { before, after } = r.sizes.decoderLinears
    const seconds = Object.values(r.seconds).reduce((a, b) => a + b)
    console.log(JSON.stringify({ cut: 1 - after / before, seconds, peakMemoryBytes: r.peakMemoryBytes }))' "$out/$name.json")
  evaluate "$name" "$out/$name" "$fields"
  rm -rf "${out:?}/$name"
}
