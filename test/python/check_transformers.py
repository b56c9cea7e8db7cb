"""Checks that transformers loads what we write and computes what we compute. usage: python check_transformers.py CASE.json …

Run by transformers.check.ts. Prints one JSON object: what is wrong with each case, by its name.

A case is one JSON object:
  model     folder to load, absolute or relative to the JSON file
  ids       token ids of one sequence
  logits    file beside the JSON: ours for it in float32, [len(ids), vocabulary]
  texts     [{"text", "ids"}]: what our tokenizer gives, with whatever it adds around one sequence
  greedy    {"prompt": ids, "generated": ids}: our greedy continuation, up to an end-of-text token
  perplexity   {"windows": [ids, …], "value"}: ours
  padded    only with a compact model: folder of its twin in layout `padded`; check_compact.py says what is compared
Every model is run in float32 with eager and sdpa attention, and in bfloat16. Any weight missing, left over or of another shape, and any
warning while loading, is a problem of the case.
"""
import json
import logging
import os
import pathlib
import sys
import traceback
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"  # a folder must be complete in itself

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from check_compact import check_compact

TOLERANCE = 1e-4  # of the largest logit: float32 in two engines that add in different orders differs by 6e-6
BFLOAT16_TOLERANCE = 0.1  # root mean square, of that of the logits: trained models differ by 0.005 to 0.035, random ones by up to 0.075
PERPLEXITY_TOLERANCE = 1e-4  # relative
OLD = int(transformers.__version__.split(".")[0]) < 5


class Records(logging.Handler):
    """Keeps the warnings that transformers logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def trusting(folder):
    """The folder's code is trusted only where it has some."""
    return {"trust_remote_code": True} if "auto_map" in json.loads((folder / "config.json").read_text("utf-8")) else {}


def load(folder, problems, attention="sdpa", dtype=torch.float32, auto_class=AutoModelForCausalLM):
    """The model; what loading complained about goes into `problems`."""
    records = Records()
    logger = logging.getLogger("transformers")
    logger.addHandler(records)
    settings = {"output_loading_info": True, "attn_implementation": attention, "torch_dtype" if OLD else "dtype": dtype}
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            model, info = auto_class.from_pretrained(folder, **settings, **trusting(folder))
    finally:
        logger.removeHandler(records)
    problems += [f"{kind}: {sorted(map(str, names))[:5]}" for kind, names in info.items() if names]
    problems += [f"warning: {message}" for message in records.messages]
    problems += [f"warning: {one.message}" for one in warned if issubclass(one.category, UserWarning)]
    return model.eval()


def load_tokenizer(folder):
    written_by_5 = "TokenizersBackend" in (folder / "tokenizer_config.json").read_text("utf-8")
    # The new name of PreTrainedTokenizerFast; transformers 4 does not know it, whoever wrote the model.
    return (PreTrainedTokenizerFast if OLD and written_by_5 else AutoTokenizer).from_pretrained(folder, **trusting(folder))


def forward(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()  # [len(ids), vocabulary]


def check_logits(name, theirs, ours, tolerance, problems, size=lambda x: np.abs(x).max()):
    if ours.shape != theirs.shape:
        problems.append(f"{name}: logits of ours {list(ours.shape)}, of transformers {list(theirs.shape)}")
        return
    error = size(ours - theirs) / size(theirs)
    if not error <= tolerance:  # true for NaN too
        problems.append(f"{name}: relative difference of logits {error:.3g}, allowed is {tolerance}")


def check_greedy(model, prompt, generated, problems):
    """32 tokens with the key-value cache."""
    ids = torch.tensor([prompt])
    limit = {"max_new_tokens": 32, "do_sample": False, "pad_token_id": 0}
    output = model.generate(ids, attention_mask=torch.ones_like(ids), **limit)[0, len(prompt) :].tolist()
    ends = model.generation_config.eos_token_id
    if output and output[-1] in (ends if isinstance(ends, list) else [ends]):
        output.pop()
    if output != generated:
        problems.append(f"greedy: ours {generated}, transformers' {output}")


def check_perplexity(model, windows, value, problems):
    losses = []
    for ids in windows:
        log_p = torch.log_softmax(torch.from_numpy(forward(model, ids)[:-1]).double(), -1)
        losses.append(-log_p.gather(1, torch.tensor(ids[1:])[:, None]).mean())
    theirs = float(torch.stack(losses).mean().exp())
    if not abs(value - theirs) <= PERPLEXITY_TOLERANCE * theirs:
        problems.append(f"perplexity: ours {value}, transformers' {theirs}")


def check(path):
    """Problems of one case; none where it passes."""
    case = json.loads(path.read_text("utf-8"))
    problems = []
    if not case["ids"] or not case["texts"] or not case["greedy"]["generated"] or not case["perplexity"]["windows"]:
        problems.append("the case checks nothing: ids, texts, greedy or perplexity is empty")
        return problems
    folder = path.parent / case["model"]
    ours = np.fromfile(path.parent / case["logits"], "<f4").reshape(len(case["ids"]), -1)
    model = load(folder, problems, "eager")
    check_logits("eager", forward(model, case["ids"]), ours, TOLERANCE, problems)
    check_greedy(model, case["greedy"]["prompt"], case["greedy"]["generated"], problems)
    check_perplexity(model, case["perplexity"]["windows"], case["perplexity"]["value"], problems)
    if model._supports_sdpa:
        model = load(folder, problems, "sdpa")
        check_logits("sdpa", forward(model, case["ids"]), ours, TOLERANCE, problems)
        check_greedy(model, case["greedy"]["prompt"], case["greedy"]["generated"], problems)
    elif not (OLD and model.config.model_type.endswith("opt")):  # came with 4.46
        problems.append("sdpa attention is not supported")
    half = load(folder, problems, "eager", torch.bfloat16)
    check_logits("bfloat16", forward(half, case["ids"]), ours, BFLOAT16_TOLERANCE, problems, np.linalg.norm)
    tokenizer = load_tokenizer(folder)
    for one in case["texts"]:
        theirs = tokenizer(one["text"]).input_ids
        if theirs != one["ids"]:
            problems.append(f"ids of {one['text']!r}: ours {one['ids']}, transformers' {theirs}")
    if trusting(folder):
        padded = case.get("padded")
        check_compact(model, folder, padded and path.parent / padded, case["ids"], load, problems)
    return problems


def problems_of(path):
    try:
        return check(path)
    except Exception:
        return [traceback.format_exc()]


if __name__ == "__main__":
    print(json.dumps({path.stem: problems_of(path) for path in map(pathlib.Path, sys.argv[1:])}))
