"""Python's part of bench/speed.mjs, which calls it.

  speed.py narrow FOLDER OUT WIDTH           first WIDTH neurons of every FFN, for timing only
  speed.py gguf SOURCE.gguf FOLDER OUT TYPE  a Hugging Face folder of a LLaMA as GGUF (F16, BF16 or F32), tokenizer from SOURCE.gguf
  speed.py serve FOLDER THREADS              one JSON line for each line on stdin: seconds in transformers, float32
"""
import json, shutil, sys, time
from pathlib import Path

PROMPT, DECODE = 512, 64


def narrow(folder, out, width):
    from safetensors.torch import load_file, save_file

    folder, out, width = Path(folder), Path(out), int(width)
    out.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, out)
    config = json.loads((folder / "config.json").read_text())
    (out / "config.json").write_text(json.dumps({**config, "intermediate_size": width}))
    tensors = load_file(folder / "model.safetensors")
    for name, t in tensors.items():
        if "mlp.down_proj" in name:
            tensors[name] = t[:, :width].contiguous()
        elif ".mlp." in name:
            tensors[name] = t[:width].contiguous()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})


def gguf(source, folder, out, dtype):
    import numpy as np
    import torch
    from gguf import GGUFReader, GGUFWriter, GGMLQuantizationType, LlamaFileType, quants
    from safetensors.torch import load_file

    config = json.loads((Path(folder) / "config.json").read_text())
    writer = GGUFWriter(out, "llama")
    changed = {
        "general.file_type": int({"F32": LlamaFileType.ALL_F32, "F16": LlamaFileType.MOSTLY_F16, "BF16": LlamaFileType.MOSTLY_BF16}[dtype]),
        "llama.feed_forward_length": config["intermediate_size"],
    }
    for key, field in GGUFReader(source).fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, changed.get(key, field.contents()), field.types[0], field.types[-1] if len(field.types) > 1 else None)

    def interleaved(t, heads):  # llama.cpp's rotary pairs are (2i, 2i + 1), as its convert_hf_to_gguf.py writes them
        return t.reshape(heads, 2, t.shape[0] // heads // 2, -1).transpose(1, 2).reshape(t.shape)

    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output"}
    names |= {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    names |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    whole = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    for shard in sorted(Path(folder).glob("*.safetensors")):
        for name, t in load_file(shard).items():
            module = name.removesuffix(".weight")
            t = t.to(torch.float32)
            if module.endswith("q_proj"):
                t = interleaved(t, config["num_attention_heads"])
            elif module.endswith("k_proj"):
                t = interleaved(t, config["num_key_value_heads"])
            if module not in whole:
                _, _, layer, rest = module.split(".", 3)
                module = f"blk.{layer}.{names[rest]}"
            else:
                module = whole[module]
            kind = GGMLQuantizationType[dtype if t.ndim > 1 else "F32"]
            writer.add_tensor(f"{module}.weight", quants.quantize(t.numpy().astype(np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()


def serve(folder, threads):
    import torch, transformers

    torch.set_grad_enabled(False), torch.set_num_threads(int(threads))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    ids = torch.tensor([[(i * 7919 + 13) % 40000 + 100 for i in range(PROMPT)]])
    for _ in sys.stdin:
        start = time.perf_counter()
        out = model(ids, use_cache=True, logits_to_keep=1)
        first = token = out.logits[0, -1].argmax()
        prefill = time.perf_counter()
        for _ in range(DECODE):
            out = model(token.view(1, 1), past_key_values=out.past_key_values, use_cache=True)
            token = out.logits[0, -1].argmax()
        end = time.perf_counter()
        print(json.dumps({"prefill": prefill - start, "decode": end - prefill, "token": int(first)}), flush=True)


{"narrow": narrow, "gguf": gguf, "serve": serve}[sys.argv[1]](*sys.argv[2:])
