#!/usr/bin/env bash
# Time and bytes moved on a GPU: the shape of OPT-125M, and four layers of LLaMA-7B's, FFN and value channels by 30 % on 128 × 2048 tokens (LLaMA's
# in windows of 512); beside it the PyTorch baseline (shared/reference/naive_fasp.py) on the same card, where there is one for it.
# usage: [DEVICE=webgpu|cuda] [WORKLOADS="opt-125m llama-7b-4"] [TOKENS=262144] bench/gpu.sh [PYTHON]
#   (after npm run build; PYTHON has torch with CUDA, transformers, accelerate; ON=cpu takes the baseline elsewhere than on cuda)
# Prints what this machine has, and a Markdown table; each workload runs twice.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-} device=${DEVICE:-webgpu} on=${ON:-cuda} shared=${FASP_SHARED:-../shared}
out=$(mktemp -d "${TMPDIR:-/tmp}/fasp-gpu.XXXXXX")
trap 'rm -rf "$out"' EXIT

node dist/cli.js inspect --devices
printf '\n| workload | by | seconds | of a layer | to the device | back | peak memory of the host |\n|---|---|---:|---:|---:|---:|---:|\n'
for workload in ${WORKLOADS:-opt-125m llama-7b-4}; do
  case $workload in llama*) length=512 ;; opt*) length=2048 ;; *) length=1024 ;; esac
  windows=$((${TOKENS:-262144} / length))
  for run in 1 2; do
    node bench/workload.mjs "$workload" --windows "$windows" --device "$device" --keep "$out/$workload" \
      >"$out/result.json" 2>"$out/stderr" || { tail -n 5 "$out/stderr" >&2; exit 1; }
    node -e 'const [, file, device, run] = process.argv
      const r = JSON.parse(require("fs").readFileSync(file, "utf8"))
      const gb = bytes => `${((bytes ?? 0) / 1e9).toFixed(2)} GB`
      const cells = [r.workload.name, `fasp, ${device}, run ${run}`, r.totalSeconds.toFixed(1), r.medianLayerSeconds.toFixed(2)]
      console.log(`| ${[...cells, gb(r.moved?.toDevice), gb(r.moved?.fromDevice), gb(r.peakMemoryBytes)].join(" | ")} |`)' \
      "$out/result.json" "$device" "$run"
  done
  [ "$python" ] || continue
  "$python" - "$shared/reference/naive_fasp.py" "$on" "$out/$workload/model" "$windows" "$length" >"$out/naive.json" 2>"$out/stderr" <<'PYTHON' \
    || { tail -n 5 "$out/stderr" >&2; exit 1; }
import runpy, sys
import torch

torch.set_default_device(sys.argv[2])
randint = torch.randint
torch.randint = lambda *shape, generator=None, **more: randint(*shape, **more)  # its generator is the CPU's
sys.argv = [sys.argv[1], *sys.argv[3:]]
runpy.run_path(sys.argv[0], run_name="__main__")
PYTHON
  node -e 'const [, file, on] = process.argv
    const r = JSON.parse(require("fs").readFileSync(file, "utf8").trim().split("\n").at(-1))
    console.log(`| | PyTorch ${r.torch}, ${on} | ${r.seconds.toFixed(1)} | | | | ${(r.peak_rss_mib / 953.7).toFixed(2)} GB |`)' \
    "$out/naive.json" "$on"
done
