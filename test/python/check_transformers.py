"""Checks that transformers loads what we write and computes what we compute. usage: python check_transformers.py CASE.json …

A case is one JSON object:
  model     folder to load, absolute or relative to the JSON file
  ids       token ids of one sequence
  logits    ours for it in float32: [vocabulary] of the last position, or [len(ids), vocabulary]
  texts     [{"text", "ids"}]: what our tokenizer gives, with whatever it adds around one sequence
  greedy    optional {"prompt": ids, "generated": ids}: our greedy continuation
  trust_remote_code   optional, default false: the folder ships its own modeling code
Any weight missing, left over or of another shape, and any warning while loading, fails the case.
Prints one line a case and last `N passed, N failed`; exits 1 if any failed, or if there was none.
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
from transformers import AutoModelForCausalLM, AutoTokenizer

TOLERANCE = 1e-3  # of the largest logit: float32 in two engines that add in different orders differs by 1e-5


class Records(logging.Handler):
    """Keeps the warnings that transformers logs."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def load(folder, trust_remote_code, problems):
    """The model and its tokenizer; what loading complained about goes into `problems`."""
    records = Records()
    logger = logging.getLogger("transformers")
    logger.addHandler(records)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", UserWarning)
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, output_loading_info=True, trust_remote_code=trust_remote_code
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    finally:
        logger.removeHandler(records)
    problems += [f"{kind}: {sorted(map(str, names))[:5]}" for kind, names in info.items() if names]
    problems += [f"warning: {message}" for message in records.messages]
    problems += [f"warning: {one.message}" for one in warned if issubclass(one.category, UserWarning)]
    return model.eval(), tokenizer


def forward(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].numpy()  # [len(ids), vocabulary]


def check_logits(model, ids, logits, problems):
    ours = np.asarray(logits, np.float32)
    theirs = forward(model, ids)
    if ours.ndim == 1:
        theirs = theirs[-1]
    if ours.shape != theirs.shape:
        problems.append(f"logits: ours {list(ours.shape)}, transformers' {list(theirs.shape)}")
        return
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    if not error <= TOLERANCE:  # true for NaN too
        problems.append(f"logits: relative difference {error:.3g}, allowed is {TOLERANCE}")


def check_greedy(model, prompt, generated, problems):
    ids = list(prompt)
    for position, ours in enumerate(generated):
        theirs = int(forward(model, ids)[-1].argmax())
        if theirs != ours:
            problems.append(f"greedy: token {position} is {ours}, transformers' {theirs}")
            return
        ids.append(ours)


def check(path):
    """Problems of one case; none where it passes."""
    case = json.loads(path.read_text("utf-8"))
    problems = []
    if not case["ids"] or not case["texts"]:
        problems.append("the case checks nothing: ids or texts is empty")
        return problems
    model, tokenizer = load(path.parent / case["model"], case.get("trust_remote_code", False), problems)
    check_logits(model, case["ids"], case["logits"], problems)
    for one in case["texts"]:
        theirs = tokenizer(one["text"]).input_ids
        if theirs != one["ids"]:
            problems.append(f"ids of {one['text']!r}: ours {one['ids']}, transformers' {theirs}")
    if "greedy" in case:
        check_greedy(model, case["greedy"]["prompt"], case["greedy"]["generated"], problems)
    return problems


def main(paths):
    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    passed = failed = 0
    for path in map(pathlib.Path, paths):
        try:
            problems = check(path)
        except Exception:
            problems = [traceback.format_exc()]
        print(f"{'not ok' if problems else 'ok'} {path.name}", *problems, sep="\n    ", flush=True)
        failed += bool(problems)
        passed += not problems
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
