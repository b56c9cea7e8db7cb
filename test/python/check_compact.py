"""What a compact model owes beyond its logits: compared with its padded twin, and loaded, saved and trained in transformers' ways."""
import json
import tempfile
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModel

TOLERANCE = 1e-4  # of the largest logit: the same products in another order


def check_compact(model, folder, padded, ids, load, problems):
    """@param padded of a model with biases that its family has no place for there is none"""
    def differ(what, got, expected):
        if got != expected:
            problems.append(f"{what}: {got}, expected is {expected}")

    def agree(what, got, expected):
        error = float((got - expected).abs().max() / expected.abs().max())
        if not error <= TOLERANCE:
            problems.append(f"{what}: relative difference {error:.3g}, allowed is {TOLERANCE}")

    ids = torch.tensor([ids])
    config = json.loads((folder / "config.json").read_text("utf-8"))
    with torch.no_grad():
        again = check_saved(model, folder, config, ids, load, problems, differ, agree)
    if not padded:
        return
    with torch.no_grad():
        twin = load(padded, problems, model.config._attn_implementation)
        agree("logits against the padded twin", model(ids).logits, twin(ids).logits)
        differ("bytes of the cache", [cache_bytes(m, ids) for m in (model, twin)], expected_bytes(config, ids.numel()))
        agree("a batch, padded at the left", *[left_padded(m, ids) for m in (model, twin)])
        prompt = ids[:, :8]
        greedy = continued(twin, prompt)
        differ("beam search", *[continued(m, prompt, num_beams=3) for m in (model, twin)])
        if getattr(model, "_supports_static_cache", True):  # a flag of older versions, which keep the cache in the model
            other = load(folder, problems, model.config._attn_implementation)
            differ("with a static cache", continued(other, prompt, cache_implementation="static"), greedy)
        if hasattr(transformers, "AttentionInterface") and model._supports_attention_backend:
            transformers.AttentionInterface.register("equal_widths", equal_widths)
            other = load(folder, problems, "equal_widths")
            differ("with an attention that wants equal widths", continued(other, prompt), greedy)

    # One step of training, after a forward pass in inference mode.
    for m in (again, twin):
        with torch.inference_mode():
            m(ids)
        m(ids, labels=ids).loss.backward()
    for name in [name for name in shapes(again) if ".0." in name and name.endswith(("q_proj.weight", "v_proj.weight", "query_key_value.weight"))]:  # or qkv_proj
        got, expected = [dict(m.named_parameters())[name].grad for m in (again, twin)]
        agree(f"gradient of {name}", got.norm(), expected.norm())


def check_saved(model, folder, config, ids, load, problems, differ, agree):
    """@returns the model as it is loaded after `save_pretrained`"""
    # The base model, as vLLM and feature extraction load it.
    base = load(folder, [], model.config._attn_implementation, auto_class=AutoModel)  # it has no use for lm_head and says so
    differ("type of the base model", type(base).__name__, config["auto_map"]["AutoModel"].split(".")[1])
    agree("the base model", base(ids).last_hidden_state, model.base_model(ids).last_hidden_state)
    differ("type of the config", AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type, config["model_type"])

    with tempfile.TemporaryDirectory() as out:
        model.save_pretrained(out)
        again = load(Path(out), problems, model.config._attn_implementation)
        agree("after save_pretrained", again(ids).logits, model(ids).logits)
        differ("weights saved", shapes(again), shapes(model))
        for name in ("configuration_fasp.py", "modeling_fasp.py"):
            differ(name, (Path(out) / name).read_bytes(), (folder / name).read_bytes())
        saved = json.loads((Path(out) / "config.json").read_text("utf-8"))
        for field in ("layer_widths", "added_biases", "auto_map", "architectures"):
            differ(f"{field} saved", saved.get(field), config.get(field))
    return again


def shapes(model):
    return {name: list(p.shape) for name, p in model.named_parameters()}


def cache_bytes(model, ids):
    """Memory behind the cache after all but the last token at once, and then the last one."""
    cache = model(ids[:, :-1], use_cache=True).past_key_values
    cache = model(ids[:, -1:], past_key_values=cache, use_cache=True).past_key_values
    layers = [(layer.keys, layer.values) for layer in cache.layers] if hasattr(cache, "layers") else list(cache)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for pair in layers for t in pair}
    return sum(storages.values())


def expected_bytes(config, tokens):
    """[compact, padded]: float32, keys whole, values as wide as the widest head of the layer; layers with a window keep as many tokens."""
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    widths = [max(layer["values"]) for layer in config["layer_widths"]]
    window = config.get("sliding_window") or tokens
    if not hasattr(transformers.cache_utils, "DynamicSlidingWindowLayer"):
        window = tokens
    slides = [kind == "sliding_attention" for kind in config.get("layer_types") or ["sliding_attention"] * len(widths)]
    kept = [min(tokens, window) if one else tokens for one in slides]
    return [4 * heads * sum(n * (size + width) for n, width in zip(kept, each)) for each in (widths, [size] * len(widths))]


def left_padded(model, ids):
    """Two sequences of different length, a few tokens through the cache: logits of the last."""
    half = ids.shape[1] // 2
    pair = torch.cat([ids[:, :half], ids[:, half : 2 * half]])
    mask = torch.ones_like(pair)
    mask[1, :3] = 0
    cache = model(pair[:, :-3], attention_mask=mask[:, :-3], use_cache=True).past_key_values
    return model(pair[:, -3:], attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1]


def continued(model, prompt, **settings):
    settings |= {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False, "pad_token_id": 0}
    return model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings).tolist()


def equal_widths(module, query, key, value, mask, **settings):
    """As flash attention and vLLM have it."""
    assert key.shape == value.shape, (key.shape, value.shape)
    causal = query.shape[2] > 1 and mask is None
    groups = query.shape[1] // key.shape[1]
    key, value = (t.repeat_interleave(groups, 1) for t in (key, value))
    scale = settings["scaling"]
    output = torch.nn.functional.scaled_dot_product_attention(query, key, value, mask, is_causal=causal, scale=scale)
    return output.transpose(1, 2), None
