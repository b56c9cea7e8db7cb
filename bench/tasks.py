"""Our zero-shot tasks beside lm-evaluation-harness: the same items, from the same files, through its own YAML and code.

  python bench/tasks.py write FOLDER                                      the items as fasp reads them, <task>.jsonl
  python bench/tasks.py score MODEL TASK --from 0 --to 200 --out FOLDER   both sides of some items (after npm run build)
  python bench/tasks.py table --out FOLDER                                what was scored, as a Markdown table

MODEL is a Hugging Face folder (of a GGUF: fasp export … --to huggingface --dtype f32). Needs lm-eval, torch, transformers, accelerate.
The data are those of shared/data (or FASP_SHARED), brought into the fields of the Hub's data sets. float32 on the CPU on both sides.
A prediction is the same where both sides take the same choice; prompts must be equal to the letter. What was scored before is not run
again, so a long task can be scored in parts.
"""
import argparse, bz2, json, os, platform, re, subprocess, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FASP_SHARED", ROOT.parent / "shared")) / "data"
TASKS = ["arc_easy", "arc_challenge", "boolq", "hellaswag", "openbookqa", "piqa", "winogrande"]


def lines(path):
    return [json.loads(line) for line in (DATA / "tasks" / path).read_text().splitlines()]


def lettered(path, stem):
    for row in lines(path):
        choices = row["question"]["choices"]
        yield {
            stem: row["question"]["stem"],
            "choices": {"text": [c["text"] for c in choices], "label": [c["label"] for c in choices]},
            "answerKey": row["answerKey"],
        }


def hellaswag():
    # The text file joins ctx_a and ctx_b: the beginning of the last sentence (ctx_b) starts in lower case.
    text = bz2.open(DATA / "tasks/hellaswag/hellaswag_val_full.txt.bz2", "rt").read().rstrip().split("\n")
    for at in range(0, len(text), 6):
        activity, context = text[at].split(": ", 1)
        match = re.match(r"^(.*[.!?\"']) ([a-z][^.]*)$", context)
        a, b = match.groups() if match else (context, "")
        yield {"activity_label": activity, "ctx_a": a, "ctx_b": b, "endings": text[at + 2 : at + 6], "label": text[at + 1]}


def wikitext():
    # As wikitext_document_level.py on the Hub.
    page = []
    for line in (DATA / "wikitext2/wiki.test.raw").read_text().split("\n"):
        heading = line.replace("= = =", "===").replace("= =", "==").strip()
        if heading.startswith("= ") and heading.endswith(" ="):
            if "\n".join(page).strip():
                yield {"page": "\n".join(page)}
            page = []
        page.append(line)
    yield {"page": "\n".join(page)}


def documents(task):
    if task == "arc_easy":
        return lettered("arc/ARC-Easy-Test.derived.jsonl", "question")
    if task == "arc_challenge":
        return lettered("arc/ARC-Challenge-Test.derived.jsonl", "question")
    if task == "boolq":
        rows = lines("boolq/dev.derived.jsonl")
        return ({"passage": r["passage"], "question": r["question"], "label": int(r["answer"])} for r in rows)
    if task == "openbookqa":
        return lettered("openbookqa/test.jsonl", "question_stem")
    if task == "piqa":
        labels = (DATA / "tasks/piqa/valid-labels.lst").read_text().split()
        return ({**row, "label": int(label)} for row, label in zip(lines("piqa/valid.jsonl"), labels, strict=True))
    if task == "winogrande":
        return iter(lines("winogrande/dev.derived.jsonl"))
    return hellaswag() if task == "hellaswag" else wikitext()


def write(options):
    folder = Path(options.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for task in [*TASKS, "wikitext"]:
        (folder / f"{task}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in documents(task)))


def theirs(model, task, first, end):
    import datasets, torch
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    rows = datasets.Dataset.from_list(list(documents(task)))
    splits = datasets.DatasetDict({name: rows for name in ("train", "validation", "test")})
    datasets.load_dataset = lambda **_: splits  # in place of the Hub
    lm = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=8)
    started = time.perf_counter()
    some = {task: list(range(first, end))}
    result = simple_evaluate(model=lm, tasks=[task], samples=some, log_samples=True, bootstrap_iters=0)
    seconds = time.perf_counter() - started
    samples = sorted(result["samples"][task], key=lambda sample: sample["doc_id"])
    items = [
        {
            "requests": [list(argument.values()) for argument in sample["arguments"].values()]
            if isinstance(sample["arguments"], dict)
            else sample["arguments"],
            "likelihoods": [float(response[0][0]) for response in sample["resps"]] if task != "wikitext" else None,
            "acc": sample.get("acc"),
            "acc_norm": sample.get("acc_norm"),
        }
        for sample in samples
    ]
    version = result["versions"][task]
    return {"results": result["results"][task], "version": version, "items": items, "seconds": seconds}


def score(options):
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    first, end = getattr(options, "from"), options.to
    ours, harness = (out / f"{options.task}.{side}.{first}.json" for side in ("ours", "theirs"))
    if not ours.exists():
        options.folder = out / "data"
        write(options)
        command = ["node", ROOT / "bench/tasks.mjs", options.model, options.task, str(first), str(end), ours]
        subprocess.run([*command, options.folder], check=True)
    if not harness.exists():
        harness.write_text(json.dumps(theirs(options.model, options.task, first, end)))


def scored(out, task, side):
    """The parts of a task in order, joined."""
    parts = sorted(Path(out).glob(f"{task}.{side}.*.json"), key=lambda path: int(path.suffixes[-2][1:]))
    read = [json.loads(part.read_text()) for part in parts]
    joined = {"items": [i for part in read for i in part.get("items", [])], "seconds": sum(p["seconds"] for p in read)}
    return {**read[0], **joined} if read else None


def pick(likelihoods, lengths=None):
    scores = [value / (lengths[i] if lengths else 1) for i, value in enumerate(likelihoods)]
    return scores.index(max(scores))


def table(options):
    import lm_eval

    print("| task | items | acc, ours | harness | acc_norm, ours | harness | same choice | by norm | largest difference | seconds |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for task in TASKS:
        a, b = (scored(options.out, task, side) for side in ("ours", "theirs"))
        if not (a and b):
            continue
        items = list(zip(a["items"], b["items"], strict=True))
        for x, y in items:
            prompts = [[request["context"], request["continuation"]] for request in x["requests"]]
            assert prompts == y["requests"], (task, prompts, y["requests"])
        n = len(items)

        def own(norm):
            return sum(pick(x["likelihoods"], x["lengths"] if norm else None) == x["gold"] for x, _ in items) / n

        def same(norm):
            lengths = lambda x: x["lengths"] if norm else None
            return sum(pick(x["likelihoods"], lengths(x)) == pick(y["likelihoods"], lengths(x)) for x, y in items)

        normed = b["items"][0]["acc_norm"] is not None
        mean = lambda name: sum(y[name] for _, y in items) / n
        worst = max(abs(p - q) for x, y in items for p, q in zip(x["likelihoods"], y["likelihoods"], strict=True))
        cells = [task, n, f"{own(False):.4f}", f"{mean('acc'):.4f}"]
        cells += [f"{own(True):.4f}", f"{mean('acc_norm'):.4f}"] if normed else ["", ""]
        cells += [f"{same(False)}", f"{same(True)}" if normed else "", f"{worst:.1e}", f"{a['seconds']:.0f}, {b['seconds']:.0f}"]
        print("| " + " | ".join(map(str, cells)) + " |")
    a, b = (scored(options.out, "wikitext", side) for side in ("ours", "theirs"))
    if a and b:
        for key, name in (("wordPerplexity", "word_perplexity"), ("bytePerplexity", "byte_perplexity"), ("bitsPerByte", "bits_per_byte")):
            print(f"wikitext, {a['documents']} documents, {name}: ours {a[key]:.6f}, harness {b['results'][name + ',none']:.6f}")
    print(f"lm-eval {lm_eval.__version__}, {platform.machine()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    files = commands.add_parser("write")
    files.add_argument("folder")
    files.set_defaults(run=write)
    one = commands.add_parser("score")
    one.add_argument("model")
    one.add_argument("task")
    one.add_argument("--from", type=int, default=0)
    one.add_argument("--to", type=int, default=200)
    one.add_argument("--out", required=True)
    one.set_defaults(run=score)
    all_of_it = commands.add_parser("table")
    all_of_it.add_argument("--out", required=True)
    all_of_it.set_defaults(run=table)
    options = parser.parse_args()
    options.run(options)
