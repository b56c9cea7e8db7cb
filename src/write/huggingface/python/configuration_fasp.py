"""Configuration of models that fasp pruned (https://www.npmjs.com/package/fasp), layout `compact`.

All fields of the stock configuration hold the sizes before pruning. Two fields are added:
  layer_widths   for each layer {"ffn": neurons, "values": [value channels of each key-value head]}
  added_biases   true where all linear layers of the decoder have a bias that the stock configuration has no fields for
"""
from transformers import LlamaConfig


class FaspLlamaConfig(LlamaConfig):
    model_type = "fasp_llama"
    base_model_tp_plan = None  # the stock plan splits heads evenly, which narrow ones are not


FaspLlamaConfig.register_for_auto_class()
