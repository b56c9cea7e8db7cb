"""PyTorch's rate of matrix products on this CPU, beside the one that `fasp bench` measures: best of 2048³ and 4096³ in float32 and in
bfloat16, and float32 tensors multiplied in bf16, as naive_fasp.py --bf16 does. Prints Markdown rows.

  gemm.py [THREADS]
"""
import sys, time
import torch

if len(sys.argv) > 1:
    torch.set_num_threads(int(sys.argv[1]))


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
for name, dtype, precision in (("float32", torch.float32, "ieee"), ("float32 by bf16 products", torch.float32, "bf16"), ("bfloat16", torch.bfloat16, "ieee")):
    torch.backends.mkldnn.matmul.fp32_precision = precision
    print(f"| {name} | {rate(2048, dtype):.0f} | {rate(4096, dtype):.0f} |", flush=True)
