"""Perplexity of a sequence in transformers, which reads the model from a GGUF file.
usage: python gguf_perplexity.py MODEL.gguf IDS.json   prints it"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

model, ids = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
loaded = AutoModelForCausalLM.from_pretrained(model.parent, gguf_file=model.name, dtype=torch.float32)
with torch.no_grad():
    loss = loaded(torch.tensor([ids]), labels=torch.tensor([ids])).loss
print(torch.exp(loss).item())
