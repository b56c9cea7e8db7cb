#!/usr/bin/env bash
# Zero-shot tasks beside lm-evaluation-harness on SmolLM2-135M: 200 items of each task, two documents of wikitext; the table of docs/tasks.md.
# usage: bench/tasks.sh PYTHON OUT   (after npm run build; PYTHON has lm-eval, torch, transformers, accelerate)
# Resumes, task by task: what lies in OUT is not run again. Half an hour or so on an idle machine of two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 out=$2
shared=${FASP_SHARED:-../shared}
export HF_HUB_OFFLINE=1
mkdir -p "$out"
if [ ! -d "$out/model" ]; then
  node dist/cli.js export "$("$shared/scripts/fetch-smollm2.sh")" --to huggingface --dtype f32 -o "$out/model"
fi
for task in arc_easy arc_challenge boolq hellaswag openbookqa piqa winogrande; do
  "$python" bench/tasks.py score "$out/model" "$task" --to 200 --out "$out"
done
"$python" bench/tasks.py score "$out/model" wikitext --to 2 --out "$out"
"$python" bench/tasks.py table --out "$out"
