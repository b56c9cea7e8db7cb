"""Writes small random models in shapes that the shipped ones do not have. usage: python make_models.py OUT TOKENIZER_FOLDER

OUT/stock/NAME is what transformers (or, for .bin files, torch) writes, OUT/mixtures/NAME too. OUT/cut/NAME-compact and NAME-padded are the same model without
channels drawn at random, as many in each layer and head as drawn too: an implementation of both layouts that shares nothing with ours.
Each folder has the tokenizer of TOKENIZER_FOLDER.
"""
import json
import pathlib
import random
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import Exaone4Config, Exaone4ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM
from transformers import Glm4Config, Glm4ForCausalLM, Ministral3Config, Ministral3ForCausalLM
from transformers import GraniteConfig, GraniteForCausalLM, Olmo2Config, Olmo2ForCausalLM, Olmo3Config, Olmo3ForCausalLM, OPTConfig, OPTForCausalLM, Phi3Config, Phi3ForCausalLM
from transformers import MixtralConfig, MixtralForCausalLM, OlmoeConfig, OlmoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM
from transformers import SmolLM3Config, SmolLM3ForCausalLM

from randomise import randomise

out, tokenizer = map(pathlib.Path, sys.argv[1:])
CODE = pathlib.Path(__file__).parents[2] / "src/write/huggingface/python"
llama = dict(vocab_size=1024, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=6,
             num_key_value_heads=2, max_position_embeddings=512, bos_token_id=1, eos_token_id=2, initializer_range=0.2)  # fmt: skip
opt = dict(vocab_size=1024, hidden_size=96, ffn_dim=256, num_hidden_layers=3, num_attention_heads=6, max_position_embeddings=512,
           word_embed_proj_dim=96, dropout=0.0, bos_token_id=1, eos_token_id=2, pad_token_id=1, init_std=0.2)  # fmt: skip
neox = dict(vocab_size=1024, hidden_size=96, intermediate_size=256, num_hidden_layers=3, num_attention_heads=6, max_position_embeddings=512,
            bos_token_id=1, eos_token_id=2, initializer_range=0.2)  # fmt: skip
granite4 = {**llama, "shared_intermediate_size": 224, "num_local_experts": 0, "num_experts_per_tok": 0, "layer_types": ["attention"] * 3, "mamba_n_heads": 4,
            "attention_multiplier": 0.3, "embedding_multiplier": 6.0, "residual_multiplier": 0.4, "logits_scaling": 3.0}
llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
longrope = {"type": "longrope", "factor": 512 / 60, "short_factor": [1, 1.1, 1.2, 1.5], "long_factor": [1, 2, 4, 8]}
yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 256}
gemma3_ropes = {"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": {"rope_type": "default", "rope_theta": 2e4}}
CASES = {
    "llama-untied-biases": (LlamaForCausalLM, LlamaConfig, {**llama, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False}),
    "llama-llama3-rope": (LlamaForCausalLM, LlamaConfig, {**llama, "rope_parameters": llama3, "tie_word_embeddings": True}),
    "llama-linear-rope": (LlamaForCausalLM, LlamaConfig, {**llama, "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}}),
    "llama-odd-heads": (LlamaForCausalLM, LlamaConfig, {**llama, "head_dim": 20, "num_attention_heads": 4, "num_key_value_heads": 1}),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, {**llama, "tie_word_embeddings": True}),
    # Windows shorter than the texts that are checked, and than what is written with a cache.
    "qwen2-window": (Qwen2ForCausalLM, Qwen2Config, {**llama, "use_sliding_window": True, "sliding_window": 24, "max_window_layers": 1}),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, {**llama, "head_dim": 20, "tie_word_embeddings": True}),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config, {**llama, "no_rope_layers": [1, 0, 1], "tie_word_embeddings": True, "pad_token_id": 0}),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig, {**llama, "head_dim": 20, "query_pre_attn_scalar": 24, "sliding_window": 24, "tie_word_embeddings": True,
               "pad_token_id": 0, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"], "rope_parameters": gemma3_ropes}),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config, {**llama, "attention_bias": True, "tie_word_embeddings": True}),
    "olmo3": (Olmo3ForCausalLM, Olmo3Config, {**llama, "sliding_window": 24, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
              "rope_parameters": {"full_attention": {"rope_type": "yarn", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 64},
                                  "sliding_attention": {"rope_type": "default", "rope_theta": 5e5}}}),
    "exaone4": (Exaone4ForCausalLM, Exaone4Config, {**llama, "head_dim": 20, "sliding_window": 24, "tie_word_embeddings": True, "rope_parameters": llama3,
                "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}),
    "mistral-window": (MistralForCausalLM, MistralConfig, {**llama, "sliding_window": 24, "head_dim": 20}),
    # Half of each head is turned, and at other frequencies where texts have more than 60 tokens, as some that are checked have.
    "phi3-long": (Phi3ForCausalLM, Phi3Config, {**llama, "pad_token_id": 0, "tie_word_embeddings": True, "original_max_position_embeddings": 60,
                  "partial_rotary_factor": 0.5, "rope_scaling": longrope}),
    "phi3-window": (Phi3ForCausalLM, Phi3Config, {**llama, "pad_token_id": 0, "sliding_window": 24}),
    "granite": (GraniteForCausalLM, GraniteConfig, {**llama, "attention_multiplier": 0.3, "embedding_multiplier": 6.0, "residual_multiplier": 0.4,
                "logits_scaling": 3.0, "tie_word_embeddings": True}),
    "granite4": (GraniteMoeHybridForCausalLM, GraniteMoeHybridConfig, {**granite4, "position_embedding_type": "rope", "tie_word_embeddings": True}),
    "granite4-nope": (GraniteMoeHybridForCausalLM, GraniteMoeHybridConfig, {**granite4, "attention_bias": True}),
    "glm4": (Glm4ForCausalLM, Glm4Config, {**llama, "head_dim": 20, "pad_token_id": 0}),
    "gpt-neox": (GPTNeoXForCausalLM, GPTNeoXConfig, neox),
    "gpt-neox-serial": (GPTNeoXForCausalLM, GPTNeoXConfig, {**neox, "use_parallel_residual": False, "attention_bias": False,
                        "rope_parameters": {"rope_type": "linear", "rope_theta": 20000.0, "factor": 4.0, "partial_rotary_factor": 0.5}}),
    "ministral3": (Ministral3ForCausalLM, Ministral3Config, {**llama, "head_dim": 16, "pad_token_id": 0, "rope_parameters": {**yarn, "llama_4_scaling_beta": 0.1}}),
    "qwen3-yarn": (Qwen3ForCausalLM, Qwen3Config, {**llama, "head_dim": 16, "rope_parameters": yarn}),
    "opt-350m-like": (OPTForCausalLM, OPTConfig, {**opt, "do_layer_norm_before": False, "word_embed_proj_dim": 64}),
    "opt-plain": (OPTForCausalLM, OPTConfig, {**opt, "enable_bias": False, "layer_norm_elementwise_affine": False, "activation_function": "gelu"}),
}
experts = {**llama, "initializer_range": 0.1, "num_experts_per_tok": 2, "tie_word_embeddings": False, "norm_topk_prob": True}
MIXTURES = {
    "mixtral": (MixtralForCausalLM, MixtralConfig, {**experts, "num_local_experts": 5}),
    "qwen3-moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig, {**experts, "num_experts": 6, "moe_intermediate_size": 128, "head_dim": 20}),
    "olmoe": (OlmoeForCausalLM, OlmoeConfig, {**experts, "num_experts": 6}),
}


def cut(model, folder):
    """Writes the compact and the padded model."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    classes, with_head = type(model.base_model).__name__.removesuffix("Model"), type(model).__name__
    family = f"Fasp{classes}"
    query_heads = config["num_attention_heads"]
    heads = config.get("num_key_value_heads") or query_heads
    size = config.get("head_dim") or config["hidden_size"] // query_heads
    compact, padded, layer_widths = {}, {}, []
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        del state["lm_head.weight"]
    if classes == "GPTNeoX":  # as it is stored
        state["embed_out.weight"] = state.pop("lm_head.weight")

    def keep(names, kept, axis):
        for name in names:
            if name not in state:  # a bias, or as another family calls it
                continue
            compact[name] = state[name].index_select(axis, torch.tensor(kept)).contiguous()
            padded[name] = torch.zeros_like(state[name]).index_copy(axis, torch.tensor(kept), compact[name])

    for i in range(config["num_hidden_layers"]):
        channels = [sorted(random.sample(range(size), random.randint(0, size))) for _ in range(heads)]
        if i == 0:
            channels = [each[: size // 2] or [3] for each in channels]  # the cache of this layer is narrower
        if not any(channels):
            channels[0] = [1]
        layer = next(name for name in state if f"layers.{i}." in name).split(f"layers.{i}.")[0] + f"layers.{i}."
        ffn = {"OPT": "", "GraniteMoeHybrid": "shared_mlp."}.get(classes, "mlp.")
        neox = classes == "GPTNeoX"
        attention = layer + ("attention" if neox else "self_attn")
        up, down = (["gate_proj", "up_proj"], "down_proj") if ffn else (["fc1"], "fc2")
        up, down = (["dense_h_to_4h"], "dense_4h_to_h") if neox else (up, down)
        down = "output_linear" if classes == "GraniteMoeHybrid" else down
        neurons = sorted(random.sample(range(state[f"{layer}{ffn}{down}.weight"].shape[1]), random.randint(1, 200)))
        output = f"{attention}.{'dense' if neox else 'o_proj' if ffn else 'out_proj'}.weight"
        rows = [head * size + c for head, each in enumerate(channels) for c in each]
        columns = [head * size + c for head in range(query_heads) for c in channels[head * heads // query_heads]]
        keep([f"{attention}.v_proj.{part}" for part in ("weight", "bias")], rows, 0)
        by_head = [3 * head * size + row for head, each in enumerate(channels) for row in [*range(2 * size), *(2 * size + c for c in each)]]
        keep([f"{attention}.query_key_value.{part}" for part in ("weight", "bias")], by_head, 0)
        before = (query_heads + heads) * size  # rows of q and k, where one tensor has them all
        keep([f"{attention}.qkv_proj.weight"], [*range(before), *(before + row for row in rows)], 0)
        keep([output], columns, 1)
        keep([f"{layer}{ffn}{name}.{part}" for name in up for part in ("weight", "bias")], neurons, 0)
        both = [*neurons, *(state[f"{layer}{ffn}{down}.weight"].shape[1] + n for n in neurons)]  # where one tensor has gate and up
        keep([f"{layer}mlp.gate_up_proj.weight", f"{layer}shared_mlp.input_linear.weight"], both, 0)
        keep([f"{layer}{ffn}{down}.weight"], neurons, 1)
        layer_widths.append({"ffn": len(neurons), "values": [len(each) for each in channels]})
    auto_map = {"AutoConfig": f"configuration_fasp.{family}Config", "AutoModel": f"modeling_fasp.{family}Model",
                "AutoModelForCausalLM": f"modeling_fasp.Fasp{with_head}"}  # fmt: skip
    compact_config = {"model_type": f"fasp_{config['model_type']}", "layer_widths": layer_widths, "auto_map": auto_map,
                      "architectures": [f"Fasp{with_head}"]}  # fmt: skip
    if "rope_theta" in (rope := config.get("rope_parameters") or {}):  # transformers 4 reads these
        scaling = {name: value for name, value in rope.items() if name != "rope_theta"}
        config |= {"rope_theta": rope["rope_theta"], "rope_scaling": None if rope["rope_type"] == "default" else scaling}
    if classes == "GPTNeoX":
        config |= {"rotary_emb_base": rope["rope_theta"], "rotary_pct": rope["partial_rotary_factor"]}
        (config["rope_scaling"] or {}).pop("partial_rotary_factor", None)
    for layout, tensors, fields in [("compact", compact, compact_config), ("padded", padded, {})]:
        target = folder.with_name(f"{folder.name}-{layout}")
        target.mkdir(parents=True)
        save_file({**state, **tensors}, target / "model.safetensors", {"format": "pt"})
        (target / "config.json").write_text(json.dumps({**config, **fields}))
        if layout == "compact":
            for file in CODE.glob("*.py"):
                code = file.read_text().replace("fasp_llama", f"fasp_{config['model_type']}")
                code = code.replace("LlamaForCausalLM", with_head).replace("Llama", classes)
                (target / file.name).write_text(code)
        copy_tokenizer(target)


def copy_tokenizer(folder):
    if json.loads((folder / "config.json").read_text())["model_type"].endswith(("qwen2", "qwen3", "qwen3_moe")):
        # transformers 5 splits words as Qwen2 does, whatever tokenizer.json says, where config.json has that type.
        Qwen2Tokenizer.from_pretrained(tokenizer, pad_token="<unk>").save_pretrained(folder)
        return
    for file in tokenizer.glob("tokenizer*"):
        shutil.copy(file, folder)


torch.manual_seed(0)
random.seed(0)
for name, (model_class, config_class, config) in CASES.items():
    model = model_class(config_class(**config))
    randomise(model)
    cut(model, out / "cut" / name)
    folder = out / "stock" / name
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
    copy_tokenizer(folder)
for name, (model_class, config_class, config) in MIXTURES.items():
    model = model_class(config_class(**config))
    randomise(model)
    for layer in model.model.layers:
        layer.mlp.gate.weight.data *= 4  # in bfloat16, too, tokens go to the same experts
    model.save_pretrained(out / "mixtures" / name)
    copy_tokenizer(out / "mixtures" / name)
