"""Our zero-shot tasks beside lm-evaluation-harness: the same items, from the same files, through its own YAML and code.

  python bench/tasks.py write FOLDER                                      the items as fasp reads them, <task>.jsonl
  python bench/tasks.py score MODEL TASK --from 0 --to 200 --out FOLDER   both sides of some items (after npm run build)
  python bench/tasks.py table --out FOLDER                                what was scored, as a Markdown table
  python bench/tasks.py all MODEL --out FOLDER                            all items of the seven tasks, ours alone
  python bench/tasks.py outcomes FOLDER > NAME.json                       which items were right there, to be kept
  python bench/tasks.py pairs NAME.json NAME.json…                        accuracies, and differences to the first, item by item

MODEL is a Hugging Face folder (of a GGUF: fasp export … --to huggingface --dtype f32); all takes what fasp opens. score and table
need lm-eval, torch, transformers, accelerate.
The data are those of shared/data (or FASP_SHARED), brought into the fields of the Hub's data sets. float32 on the CPU on both sides.
A prediction is the same where both sides take the same choice; prompts must be equal to the letter. What was scored before is not run
again, so a long task can be scored in parts.
"""
import argparse, bz2, json, os, platform, re, statistics, subprocess, time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FASP_SHARED", ROOT.parent / "shared")) / "data"
PART = 2000  # items that one call scores, and that a run that is stopped loses
TASKS = ["arc_easy", "arc_challenge", "boolq", "openbookqa", "piqa", "winogrande", "hellaswag"]  # the longest last


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


def write(folder):
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


def ours(model, task, first, end, out):
    """Our scores of the items first to end, in `out` once they are there."""
    path = out / f"{task}.ours.{first}.json"
    if path.exists():
        return
    data = out / "data"
    write(data)
    part = path.with_suffix(".part")
    subprocess.run(["node", ROOT / "bench/tasks.mjs", model, task, str(first), str(end), part, data], check=True)
    part.rename(path)


def score(options):
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    first, end = getattr(options, "from"), options.to
    ours(options.model, options.task, first, end, out)
    harness = out / f"{options.task}.theirs.{first}.json"
    if not harness.exists():
        harness.write_text(json.dumps(theirs(options.model, options.task, first, end)))


def score_all(options):
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    for task in TASKS:
        for first in range(0, sum(1 for _ in documents(task)), PART):
            ours(options.model, task, first, first + PART, out)


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


NORMED = {"arc_easy", "arc_challenge", "hellaswag", "openbookqa", "piqa"}


def outcomes(options):
    """Of each task a digit an item, 1 where the right choice is taken; by length where the harness does so."""

    def hits(task):
        items = scored(options.folder, task, "ours")["items"]
        return "".join(str(int(pick(x["likelihoods"], x["lengths"] if task in NORMED else None) == x["gold"])) for x in items)

    print(json.dumps({task: hits(task) for task in TASKS}, indent=1))


def pairs(options):
    """The mean leaves out BoolQ."""
    read = [json.loads(Path(path).read_text()) for path in options.files]
    kept = [{task: [int(hit) for hit in hits] for task, hits in one.items()} for one in read]
    meant = [task for task in TASKS if task != "boolq"]
    mean = lambda values: sum(values) / len(values)

    def of_mean(numbers):
        """Mean over tasks of the means of `numbers`, and its standard error."""
        variances = [statistics.variance(numbers[task]) / len(numbers[task]) for task in meant]
        return mean([mean(numbers[task]) for task in meant]), sum(variances) ** 0.5 / len(meant)

    print("| model | " + " | ".join(TASKS) + " | mean without boolq | than the first |")
    print("|---|" + "---:|" * (len(TASKS) + 2))
    for path, own in zip(options.files, kept, strict=True):
        cells = [f"{100 * mean(own[task]):.1f}" for task in TASKS]
        difference, error = of_mean({t: [a - b for a, b in zip(own[t], kept[0][t], strict=True)] for t in meant})
        than = f"{100 * difference:+.2f} ± {100 * error:.2f}" if own is not kept[0] else "–"
        value, spread = of_mean(own)
        print("| " + " | ".join([Path(path).stem, *cells, f"{100 * value:.2f} ± {100 * spread:.2f}", than]) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    files = commands.add_parser("write")
    files.add_argument("folder")
    files.set_defaults(run=lambda options: write(Path(options.folder)))
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
    every = commands.add_parser("all")
    every.add_argument("model")
    every.add_argument("--out", required=True)
    every.set_defaults(run=score_all)
    right = commands.add_parser("outcomes")
    right.add_argument("folder")
    right.set_defaults(run=outcomes)
    differences = commands.add_parser("pairs")
    differences.add_argument("files", nargs="+")
    differences.set_defaults(run=pairs)
    options = parser.parse_args()
    options.run(options)
