"""What `fasp heal` does, as one would write it with PyTorch and transformers, to hold its time, memory and result against.

  python bench/heal.py DENSE PRUNED TEXT [--tokens 65536] [--seq-len 512] [--batch 4] [--held-out 8] [--lr 1e-4] [--threads 2]

DENSE and PRUNED are folders that transformers loads without code of ours (layout stock), TEXT a file of up to 4 million characters. Options
are those of `fasp heal --train all`, and so are windows, their order, schedule, clipping and loss: the dense model's 1024 most likely tokens
of each position, and one bucket for the others. Held-out windows are measured as often, with all tokens and weights as they are stored.
All in float32 on the CPU; gradients by autograd, without checkpointing; torch.optim.AdamW without weight decay. Prints one JSON object:
seconds (`all` from open models on, as `fasp heal --json` has it but for opening and writing), those of a step and of a million tokens
(steps alone), peak RSS of the process, and KL(dense || model) before, after and after each measurement.
"""
import argparse, json, math, os, resource, time

TOP, NEVER, LEAST, MEASUREMENTS = 1024, -30000.0, 1e-30, 8
HEAD_ROWS = 256  # positions whose logits are there at a time, where no gradient is wanted


def windows_of(ids, length, count, held_out):
    """As src/text/windows.ts cuts them: spread over the text, and of those that are left as many more."""
    available = len(ids) // length
    used = min(count, available - min(held_out, available // 4))
    spread = lambda of, n: [i * of // n for i in range(n)]
    taken = spread(available, used)
    left = sorted(set(range(available)) - set(taken))
    held = [left[i] for i in spread(len(left), min(held_out, len(left)))]
    return [[ids[i * length : (i + 1) * length] for i in some] for some in (taken, held)]


def mulberry32(seed):
    while True:
        seed = (seed + 0x6D2B79F5) % 2**32
        t = ((seed ^ (seed >> 15)) * (seed | 1)) % 2**32
        t ^= (t + ((t ^ (t >> 7)) * (t | 61)) % 2**32) % 2**32
        yield (t ^ (t >> 14)) / 2**32


def shuffled(n, seed):
    """As src/heal/heal.ts takes windows: all in one order, then in another."""
    random, order = mulberry32(seed), list(range(n))
    while True:
        for i in range(n - 1, 0, -1):
            j = int(next(random) * (i + 1))
            order[i], order[j] = order[j], order[i]
        yield from order


def rate_of(step, steps, peak):
    warm = math.ceil(0.05 * steps)
    if step <= warm:
        return peak * step / warm
    return peak * (0.1 + 0.9 * (1 + math.cos(math.pi * (step - warm) / (steps - warm))) / 2)


def rest_of(log, ids):
    return log.scatter(-1, ids, NEVER).exp().sum(-1).clamp_min(LEAST)


def main(dense_folder, folder, text, tokens, seq_len, batch, held_out, lr, seed, threads):
    import torch, transformers

    torch.set_num_threads(threads)
    opened = lambda name: transformers.AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32).eval()
    stored = getattr(torch, str(transformers.AutoConfig.from_pretrained(folder).dtype).removeprefix("torch."))
    content = open(text, encoding="utf-8", newline="").read()
    if len(content) > 2**22:
        raise SystemExit(f"{text} has {len(content)} characters; fasp heal takes parts of more than {2**22}. Give a part.")
    ids = transformers.AutoTokenizer.from_pretrained(folder)(content).input_ids
    windows, held = [torch.tensor(of) for of in windows_of(ids, seq_len, math.ceil(tokens / seq_len), held_out)]
    dense, model = opened(dense_folder), opened(folder)

    start = time.perf_counter()
    seconds = {"dense": 0.0, "measuring": 0.0, "steps": 0.0}
    with torch.no_grad():
        wanted = []  # of each window: ids, log p, the rest
        for window in windows:
            log = dense(window[None]).logits[0].log_softmax(-1)
            top, of = log.topk(min(TOP, log.shape[-1]))
            wanted.append((of, top, rest_of(log, of)))
        hidden = [dense.base_model(window[None]).last_hidden_state[0] for window in held]
    dense_head = dense.get_output_embeddings()
    del dense
    seconds["dense"] = time.perf_counter() - start

    layers = [m for name, m in model.named_modules() if ".layers." in name and isinstance(m, torch.nn.Linear)]
    model.requires_grad_(False)
    trained = [parameter.requires_grad_(True) for layer in layers for parameter in layer.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, fused=True)

    @torch.no_grad()
    def distance():
        began = time.perf_counter()
        kept = [parameter.data for parameter in trained]
        if stored != torch.float32:
            for parameter in trained:
                parameter.data = parameter.data.to(stored).float()
        total, head = 0.0, model.get_output_embeddings()
        for window, own in zip(held, hidden):
            states = model.base_model(window[None]).last_hidden_state[0]
            for x, y in zip(states.split(HEAD_ROWS), own.split(HEAD_ROWS)):
                p, q = dense_head(y).log_softmax(-1), head(x).log_softmax(-1)
                total += (p.exp() * (p - q)).sum(-1).double().sum().item()
        for parameter, data in zip(trained, kept):
            parameter.data = data
        seconds["measuring"] += time.perf_counter() - began
        return total / held.numel()

    steps = max(1, tokens // (batch * seq_len))
    every = math.ceil(steps / MEASUREMENTS)
    order = shuffled(len(windows), seed)
    curve = [{"step": 0, "kl": distance()}]
    for step in range(1, steps + 1):
        began = time.perf_counter()
        these = [next(order) for _ in range(batch)]
        of, top, rest = [torch.stack(parts) for parts in zip(*(wanted[i] for i in these))]
        log = model(windows[these]).logits.log_softmax(-1)
        divergence = (top.exp() * (top - log.gather(-1, of))).sum(-1) + rest * (rest.log() - rest_of(log, of).log())
        optimizer.zero_grad()
        divergence.mean().backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.param_groups[0]["lr"] = rate_of(step, steps, lr)
        optimizer.step()
        seconds["steps"] += time.perf_counter() - began
        if step % every == 0 or step == steps:
            curve.append({"step": step, "kl": distance()})
    seconds["all"] = time.perf_counter() - start

    best = min(point["kl"] for point in curve)
    print(json.dumps({
        "kl": {"before": curve[0]["kl"], "after": best},
        "secondsPerStep": seconds["steps"] / steps,
        "secondsPerMillionTokens": seconds["steps"] * 1e6 / (steps * batch * seq_len),
        "seconds": seconds,
        "peakMemoryBytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "curve": curve,
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
    }, indent=1))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("dense_folder", metavar="DENSE")
parser.add_argument("folder", metavar="PRUNED")
parser.add_argument("text", metavar="TEXT")
parser.add_argument("--tokens", type=int, default=65536)
parser.add_argument("--seq-len", type=int, default=512)
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--held-out", type=int, default=8)
parser.add_argument("--lr", type=float, default=1e-4)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--threads", type=int, default=2)
main(**vars(parser.parse_args()))
