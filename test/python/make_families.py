"""Makes test/fixtures/families: random models of some kB, one of each family, and what PyTorch makes of them. usage: python make_families.py
(torch, transformers; versions are written along)

FAMILY/ is a model in bfloat16 as transformers writes it, without tokenizer, FAMILY-stacked/ are weights of a mixture as it holds them; FAMILY/golden.safetensors has `ids` [256] and their `logits`
[256, vocabulary] in float32, all positions of one window.
"""
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from transformers import Glm4Config, Glm4ForCausalLM, Ministral3Config, Ministral3ForCausalLM
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM
from transformers import Exaone4Config, Exaone4ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers import GraniteMoeHybridConfig, GraniteMoeHybridForCausalLM
from transformers import MistralConfig, MistralForCausalLM, MixtralConfig, MixtralForCausalLM, Olmo2Config, Olmo2ForCausalLM
from transformers import OlmoeConfig, OlmoeForCausalLM
from transformers import Olmo3Config, Olmo3ForCausalLM, OPTConfig, OPTForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM

from randomise import randomise

OUT = pathlib.Path(__file__).parents[1] / "fixtures/families"
LENGTH = 256  # goes in blocks (src/graphs/causal-attention.ts)
sizes = dict(vocab_size=64, intermediate_size=36, num_hidden_layers=3, max_position_embeddings=300, initializer_range=0.3,
             bos_token_id=1, eos_token_id=2)  # fmt: skip
# Granite 4 without experts and without Mamba, whose sizes its config checks all the same.
granite4 = dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, shared_intermediate_size=38, num_local_experts=0, num_experts_per_tok=0,
                layer_types=["attention"] * 3, mamba_n_heads=4, attention_multiplier=0.3, embedding_multiplier=6.0, residual_multiplier=0.4,
                logits_scaling=3.0)  # fmt: skip
# Head sizes that no kernel has. Windows that begin in the block of their query, and in the one before.
FAMILIES = {
    "llama": (LlamaForCausalLM, LlamaConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10, mlp_bias=True,
              rope_parameters={"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                               "original_max_position_embeddings": 64})),
    "opt": (OPTForCausalLM, OPTConfig, dict(hidden_size=24, ffn_dim=36, num_attention_heads=4, word_embed_proj_dim=16, pad_token_id=0,
            do_layer_norm_before=False, dropout=0.0)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
              use_sliding_window=True, sliding_window=60, max_window_layers=1)),
    "mistral": (MistralForCausalLM, MistralConfig, dict(hidden_size=32, num_attention_heads=3, num_key_value_heads=1, head_dim=10,
                sliding_window=150, rope_parameters={"rope_type": "default", "rope_theta": 1e6})),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
              tie_word_embeddings=False, attention_bias=True)),
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                pad_token_id=0, use_sliding_window=True, sliding_window=60, no_rope_layers=[1, 0, 1], mlp_bias=True)),
    "gemma3_text": (Gemma3ForCausalLM, Gemma3TextConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
                    query_pre_attn_scalar=12, sliding_window=60, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                    rope_parameters={"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e6},
                                     "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}})),
    "qwen3_moe": (Qwen3MoeForCausalLM, Qwen3MoeConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
                  num_experts=7, num_experts_per_tok=3, moe_intermediate_size=12, norm_topk_prob=True)),
    "mixtral": (MixtralForCausalLM, MixtralConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, sliding_window=60,
                num_local_experts=5, num_experts_per_tok=2)),
    "olmoe": (OlmoeForCausalLM, OlmoeConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, num_experts=6,
              num_experts_per_tok=2)),
    "olmo2": (Olmo2ForCausalLM, Olmo2Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, attention_bias=True,
              tie_word_embeddings=True, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5})),
    "olmo3": (Olmo3ForCausalLM, Olmo3Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, sliding_window=60,
              layer_types=["sliding_attention", "full_attention", "sliding_attention"],
              rope_parameters={"full_attention": {"rope_type": "yarn", "factor": 8.0, "rope_theta": 1e5, "attention_factor": 1.3, "beta_fast": 32.0,
                                                  "beta_slow": 1.0, "original_max_position_embeddings": 64},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 5e5}})),
    "exaone4": (Exaone4ForCausalLM, Exaone4Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=10,
                sliding_window=60, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                rope_parameters={"rope_type": "llama3", "rope_theta": 1e4, "factor": 16.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 64})),
    "phi3": (Phi3ForCausalLM, Phi3Config, dict(hidden_size=40, num_attention_heads=4, num_key_value_heads=2, sliding_window=60, pad_token_id=0,
             tie_word_embeddings=True, original_max_position_embeddings=256, partial_rotary_factor=0.6,
             rope_scaling={"type": "longrope", "short_factor": [1, 1.1, 1.5], "long_factor": [1, 1.5, 4]})),
    "phi3-long": (Phi3ForCausalLM, Phi3Config, dict(hidden_size=40, num_attention_heads=4, num_key_value_heads=2, pad_token_id=0,
                   original_max_position_embeddings=4, rope_scaling={"type": "longrope", "attention_factor": 1.2, "short_factor": [9] * 5, "long_factor": [1, 1.5, 2, 3, 4]})),
    "granite": (GraniteForCausalLM, GraniteConfig, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
                attention_multiplier=0.3, embedding_multiplier=6.0, residual_multiplier=0.4, logits_scaling=3.0, mlp_bias=True, attention_bias=True)),
    "granitemoehybrid": (GraniteMoeHybridForCausalLM, GraniteMoeHybridConfig, dict(**granite4, tie_word_embeddings=True, attention_bias=True,
                         position_embedding_type="rope", rope_parameters={"rope_type": "default", "rope_theta": 1e5})),
    "granitemoehybrid-nope": (GraniteMoeHybridForCausalLM, GraniteMoeHybridConfig, granite4),
    "ministral3": (Ministral3ForCausalLM, Ministral3Config, dict(hidden_size=32, num_attention_heads=3, num_key_value_heads=1, head_dim=10,
                   rope_parameters={"type": "yarn", "rope_theta": 1e4, "factor": 16.0, "original_max_position_embeddings": 256, "beta_fast": 8.0,
                                    "beta_slow": 1.0, "mscale_all_dim": 0.5, "mscale": 1.0, "llama_4_scaling_beta": 0.1})),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, dict(hidden_size=40, num_attention_heads=4, rope_parameters={"rope_type": "default",
                 "rope_theta": 5e3, "partial_rotary_factor": 0.4})),
    "gpt_neox-serial": (GPTNeoXForCausalLM, GPTNeoXConfig, dict(hidden_size=24, num_attention_heads=4, use_parallel_residual=False, attention_bias=False,
                        hidden_act="gelu_fast", layer_norm_eps=1e-3, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4,
                        "partial_rotary_factor": 1.0})),
    "glm4": (Glm4ForCausalLM, Glm4Config, dict(hidden_size=24, num_attention_heads=4, num_key_value_heads=2, head_dim=12, pad_token_id=0)),
}  # fmt: skip

for name, (model_class, config_class, config) in FAMILIES.items():
    torch.manual_seed(0)
    model = model_class(config_class(**sizes, **config))
    randomise(model)
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    if name in ("mixtral", "qwen3_moe"):
        model.save_pretrained(OUT / f"{name}-stacked", save_original_format=False)
        for file in ("generation_config.json", "config.json"):
            (OUT / f"{name}-stacked" / file).unlink()
    ids = torch.randint(sizes["vocab_size"], (LENGTH,), dtype=torch.int32)
    model = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.no_grad():
        logits = model(ids[None].long()).logits[0].contiguous()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    save_file({"ids": ids, "logits": logits}, folder / "golden.safetensors", versions)
