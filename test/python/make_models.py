"""Writes small random models in shapes that the shipped ones do not have. usage: python make_models.py OUT TOKENIZER_FOLDER

Each folder is what transformers (or, for .bin files, torch) writes, with the tokenizer of TOKENIZER_FOLDER beside it.
"""
import json
import pathlib
import shutil
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

out, tokenizer = map(pathlib.Path, sys.argv[1:])
llama = dict(vocab_size=1024, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, initializer_range=0.2)  # fmt: skip
opt = dict(vocab_size=1024, hidden_size=96, ffn_dim=256, num_hidden_layers=3, num_attention_heads=6, max_position_embeddings=512,
           word_embed_proj_dim=96, dropout=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=1, init_std=0.2)  # fmt: skip
llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
CASES = {
    "llama-untied-biases": (LlamaForCausalLM, LlamaConfig, {**llama, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
    "llama-llama3-rope": (LlamaForCausalLM, LlamaConfig, {**llama, "rope_parameters": llama3, "tie_word_embeddings": True}),
    "llama-linear-rope": (LlamaForCausalLM, LlamaConfig, {**llama, "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    "llama-odd-heads": (LlamaForCausalLM, LlamaConfig, {**llama, "head_dim": 20, "num_attention_heads": 4, "num_key_value_heads": 1}),
    "opt-350m-like": (OPTForCausalLM, OPTConfig, {**opt, "do_layer_norm_before": False, "word_embed_proj_dim": 64}),
    "opt-plain": (OPTForCausalLM, OPTConfig, {**opt, "enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu"}),
}


def randomise(model):
    """Biases and norms start at constants that would hide mistakes."""
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data = torch.randn_like(p) * 0.2 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)


torch.manual_seed(0)
for name, (model_class, config_class, config) in CASES.items():
    model = model_class(config_class(**config))
    randomise(model)
    folder = out / name
    if name == "llama-untied-biases":  # shards with an index
        model.to(torch.bfloat16).save_pretrained(folder, max_shard_size="400KB")
    elif model_class is OPTForCausalLM:  # as facebook/opt-*: pickled, names without the prefix; here in two shards with an index
        model.config.save_pretrained(folder)
        state = {k.removeprefix("model."): v.half() for k, v in model.state_dict().items() if k.startswith("model.")}
        index = {}
        for part, names in enumerate([list(state)[::2], list(state)[1::2]], 1):
            file = f"pytorch_model-0000{part}-of-00002.bin"
            torch.save({k: state[k] for k in names}, folder / file)
            index.update(dict.fromkeys(names, file))
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    else:
        model.save_pretrained(folder)
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, folder)
