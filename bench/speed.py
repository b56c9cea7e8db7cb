"""Python's part of bench/runtimes.mjs and bench/speed.mjs, which call it.

  speed.py narrow FOLDER OUT WIDTH     first WIDTH neurons of every FFN, for timing only
  speed.py serve FOLDER THREADS DTYPE  for each number on stdin: see bench/runtimes.mjs, in transformers
"""
import json, shutil, sys, time
from pathlib import Path

PROMPT = 512


def narrow(folder, out, width):
    from safetensors.torch import load_file, save_file

    folder, out, width = Path(folder), Path(out), int(width)
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, out)
    config = json.loads((folder / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "intermediate_size": width}))
    tensors = load_file(folder / "model.safetensors")
    for name, t in tensors.items():
        if "mlp.down_proj" in name:
            tensors[name] = t[:, :width].contiguous()
        elif ".mlp." in name:
            tensors[name] = t[:width].contiguous()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})


def serve(folder, threads, dtype):
    import torch, transformers

    torch.set_grad_enabled(False), torch.set_num_threads(int(threads))
    empty = resident()
    options = {"dtype": getattr(torch, dtype), "trust_remote_code": True}
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    ids = torch.tensor([[(i * 7919 + 13) % 40000 + 100 for i in range(PROMPT)]])
    for line in sys.stdin:
        start = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
        first = token = out.logits[0, -1].argmax()
        prefill = time.perf_counter()
        for _ in range(int(line)):
            out = model(token.view(1, 1), past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[0, -1].argmax()
        end = time.perf_counter()
        tensors = [t for layer in out.past_key_values.layers for t in (layer.keys, layer.values)]
        used = {"memory": resident() - empty, "cache": sum(t.nbytes for t in tensors) / tensors[0].shape[2]}
        times = {"prefill": prefill - start, "decode": end - prefill, "token": int(first)}
        print(json.dumps({**times, **used}), flush=True)


def resident():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


{"narrow": narrow, "serve": serve}[sys.argv[1]](*sys.argv[2:])
