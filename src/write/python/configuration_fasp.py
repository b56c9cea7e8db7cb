"""Configurations of models that fasp pruned (https://www.npmjs.com/package/fasp), layout `compact`.

All fields of the stock configuration hold the sizes before pruning. One field is added:
  layer_widths   for each layer {"ffn": neurons, "values": [value channels of each key-value head]}
"""
from transformers import LlamaConfig, OPTConfig


class FaspLlamaConfig(LlamaConfig):
    model_type = "fasp_llama"
    base_model_tp_plan = None  # the plan of LLaMA splits heads evenly, which narrow ones are not


class FaspOPTConfig(OPTConfig):
    model_type = "fasp_opt"


FaspLlamaConfig.register_for_auto_class()
FaspOPTConfig.register_for_auto_class()
