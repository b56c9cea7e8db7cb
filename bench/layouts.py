"""One model in several layouts in transformers: bytes on disk, memory, bytes of the key-value cache, prefill and decode.
usage: python bench/layouts.py [--dtype float32|bfloat16] [--threads 2] [--runs 7] FOLDER…   the first is what the others are compared with

Each model is in a process of its own; they take turns, so that load on the machine hits all alike. Prints a Markdown table of medians
[lowest–highest]; a ratio is the median of the ratios of neighbouring runs. Memory is the process's resident memory after loading and
one run, less that of one that has imported transformers only.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

PROMPT, DECODE = 512, 64


def serve(folder, dtype, threads):
    """One JSON line for each line on stdin."""
    import torch
    import transformers

    torch.set_grad_enabled(False)
    torch.set_num_threads(threads)
    empty = resident()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), trust_remote_code=True)
    ids = torch.tensor([[(i * 7919 + 13) % 40000 + 100 for i in range(PROMPT)]]) % model.config.vocab_size
    for _ in sys.stdin:
        start = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
        token = out.logits[0, -1].argmax()
        prefill = time.perf_counter()
        for _ in range(DECODE):
            out = model(token.view(1, 1), past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[0, -1].argmax()
        end = time.perf_counter()
        cache = sum(t.nbytes for layer in out.past_key_values.layers for t in (layer.keys, layer.values))
        used = {"memory": resident() - empty, "cache": cache}
        print(json.dumps({"prefill": prefill - start, "decode": end - prefill, **used}), flush=True)


def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--serve", action="store_true")
    options = parser.parse_args()
    if options.serve:
        return serve(options.folders[0], options.dtype, options.threads)
    command = [sys.executable, __file__, "--serve", "--dtype", options.dtype, "--threads", str(options.threads)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    children = [subprocess.Popen([*command, folder], **pipes) for folder in options.folders]
    runs = [[] for _ in children]
    for run in range(options.runs + 1):
        for child, results in zip(children, runs):
            print(file=child.stdin, flush=True)
            result = json.loads(child.stdout.readline())
            if run > 0:  # the first warms up
                results.append(result)
    print("| model | weights on disk, MB | memory, MB | cache, MB | prefill, tokens/s | × | decode, tokens/s | × |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for folder, child, results in zip(options.folders, children, runs):
        child.stdin.close()
        disk = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
        cells = [f"{n / 1e6:.1f}" for n in (disk, median(r["memory"] for r in results), results[0]["cache"])]
        for phase, tokens in ("prefill", PROMPT), ("decode", DECODE):
            cells.append(spread([tokens / r[phase] for r in results], 0))
            cells.append(spread([first[phase] / r[phase] for first, r in zip(runs[0], results)], 2))
        print(f"| {Path(folder).name} | {' | '.join(cells)} |")


def spread(numbers, digits):
    return f"{median(numbers):.{digits}f} [{min(numbers):.{digits}f}–{max(numbers):.{digits}f}]"


main()
