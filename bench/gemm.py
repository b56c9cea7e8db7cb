"""PyTorch's rate of matrix products on this CPU, beside the one that `fasp bench` measures: best of 2048³ and 4096³ in float32 and in
bfloat16, and float32 tensors multiplied in bf16, as naive_fasp.py --bf16 does. Both by bf16 only where the CPU has instructions for it, or
with --bf16: without them one product takes minutes. Prints Markdown rows.

  gemm.py [--bf16] [THREADS]
"""
import argparse, re, sys, time
from pathlib import Path
import torch

p = argparse.ArgumentParser()
p.add_argument("threads", type=int, nargs="?")
p.add_argument("--bf16", action="store_true", help="products by bf16 on any CPU")
a = p.parse_args()
if a.threads:
    torch.set_num_threads(a.threads)
cpu = Path("/proc/cpuinfo")
bf16 = a.bf16 or (cpu.exists() and re.search(r"\b(avx512_bf16|amx_bf16|bf16)\b", cpu.read_text()))


def rate(n, dtype, seconds=1.0):
    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    y = a @ b
    best, start = float("inf"), time.perf_counter()
    while time.perf_counter() - start < seconds or best == float("inf"):
        t = time.perf_counter()
        torch.mm(a, b, out=y)
        best = min(best, time.perf_counter() - t)
    return 2 * n**3 / best / 1e9


print(f"| PyTorch {torch.__version__}, {torch.get_num_threads()} threads, GFLOP/s | 2048³ | 4096³ |\n|---|---:|---:|")
rows = [("float32", torch.float32, "ieee")]
if bf16:
    rows += [("float32 by bf16 products", torch.float32, "bf16"), ("bfloat16", torch.bfloat16, "ieee")]
else:
    print("Left out: products by bf16, which this CPU has no instructions for. --bf16 runs them.", file=sys.stderr)
for name, dtype, precision in rows:
    torch.backends.mkldnn.matmul.fp32_precision = precision
    print(f"| {name} | {rate(2048, dtype):.0f} | {rate(4096, dtype):.0f} |", flush=True)
