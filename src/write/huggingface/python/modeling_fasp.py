"""Llama models that fasp pruned (https://www.npmjs.com/package/fasp), layout `compact`: nothing that was removed is stored.

The models are the stock ones of transformers. After their construction, the modules of each layer are replaced by narrower ones:
  FFN      linear layers with fewer neurons
  v_proj   [sum of values, hidden]: the channels of key-value head 0, then those of head 1, ... (after q and k, where qkv_proj holds them; in
           query_key_value after those of each head)
  o_proj   [hidden, sum over query heads]: as many columns for each query head as its key-value head has channels
No `forward` of transformers is overridden, so this works with version 4.45 and later, whatever the signatures there. Attention expects
`head_dim` value channels in every head: ValueProjection fills up with zeros, OutputProjection takes the columns that are in use. A channel
of zeros changes no output. The key-value cache holds no more channels than the widest head of a layer has: see NarrowCache.
"""
import sys
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, LlamaForCausalLM, LlamaModel

from .configuration_fasp import FaspLlamaConfig

CACHE_ARGUMENTS = ("cache", "past_key_values", "past_key_value", "layer_past")  # of attention modules, newest name first


class NarrowLinear(nn.Module):
    """A linear layer over heads of different widths: the first rows and columns of `linear` as initial values.

    No subclass of nn.Linear: tools that replace those by layers of their own would lose what `forward` does.
    """

    def __init__(self, linear, rows, columns, channels):
        super().__init__()
        self.weight, self.bias = first(linear, rows, columns)
        self.channels = channels  # of each head
        self.even = min(channels) == max(channels)  # slices then do what indices do, in a tenth of the time for long prompts
        self.indices = {}

    def spread(self, x, size):
        """[..., sum of channels] to [..., heads * size], zeros where a head has fewer."""
        heads = len(self.channels)
        if self.even:
            return widen(x.unflatten(-1, (heads, -1)), size).flatten(-2)
        return x.new_zeros(*x.shape[:-1], heads * size).index_copy(-1, self.places(size, x.device), x)

    def gather(self, x):
        """[..., heads * size] for any size to [..., sum of channels]."""
        heads = len(self.channels)
        if self.even:
            return x.unflatten(-1, (heads, -1))[..., : self.channels[0]].flatten(-2)
        return x.index_select(-1, self.places(x.shape[-1] // heads, x.device))

    def places(self, size, device):
        """Where the channels lie if every head has room for `size`. No buffer: those are lost when a model is made on `meta`."""
        if (size, device) not in self.indices:
            places = [head * size + channel for head, count in enumerate(self.channels) for channel in range(count)]
            with torch.inference_mode(False):  # may be used in training later
                self.indices[size, device] = torch.tensor(places, device=device)
        return self.indices[size, device]


class ValueProjection(NarrowLinear):
    """v_proj: hidden states [..., hidden] to values [..., heads * head_dim]; or qkv_proj, which gives queries and keys before them, or
    query_key_value, whose heads have three parts each."""

    def __init__(self, linear, channels, head_dim):
        before = linear.out_features - len(channels) * head_dim
        super().__init__(linear, before + sum(channels), linear.in_features, channels)
        self.before, self.head_dim = before, head_dim

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        if self.before == 0:
            return self.spread(y, self.head_dim)
        return torch.cat((y[..., : self.before], self.spread(y[..., self.before :], self.head_dim)), -1)


class OutputProjection(NarrowLinear):
    """o_proj: what attention gives, [..., heads * size], to [..., hidden]."""

    def __init__(self, linear, channels):
        super().__init__(linear, linear.out_features, sum(channels), channels)

    def forward(self, x):
        return F.linear(self.gather(x), self.weight, self.bias)


class NarrowCache:
    """What an attention module sees in place of its cache: values lose the channels that are zero in all heads, and get them back.

    Caches that allocate room in advance, or quantise, keep values as wide as keys: only DynamicCache is known not to mind.
    """

    def __init__(self, cache, attention, width):
        self.cache = cache
        self.attention = attention
        self.width = width if type(cache) is DynamicCache else attention.head_dim

    def update(self, keys, values, *args, **kwargs):
        # `contiguous`: a slice would keep all of its source alive.
        past_keys, past_values = self.cache.update(keys, values[..., : self.width].contiguous(), *args, **kwargs)
        # For one token, attention is quicker on narrow values. For many, sdpa has fast kernels for equal widths only.
        if keys.shape[-2] == 1 and takes_narrow_values(self.attention):
            return past_keys, past_values
        return past_keys, widen(past_values, self.attention.head_dim)

    def __getattr__(self, name):
        return getattr(self.cache, name)


def takes_narrow_values(attention):
    """eager and sdpa do where they are functions of the library. Before they were, the modules checked for `head_dim`."""
    functions = hasattr(sys.modules[type(attention).__module__], "ALL_ATTENTION_FUNCTIONS")
    return functions and attention.config._attn_implementation in ("eager", "sdpa")


def widen(values, size):
    return F.pad(values, (0, size - values.shape[-1]))


def hide_cache(attention, args, kwargs, width):
    """Before an attention module runs. OPT had pairs (keys, values) as cache at first."""
    for name in CACHE_ARGUMENTS:
        cache = kwargs.get(name)
        if isinstance(cache, tuple):
            kwargs[name] = cache[0], widen(cache[1], attention.head_dim)
        elif cache is not None:
            kwargs[name] = NarrowCache(cache, attention, width)
    return args, kwargs


def restore_cache(attention, args, outputs, width):
    """After it ran: older modules return their cache."""

    def restored(output):
        if isinstance(output, tuple):
            return output[0], output[1][..., :width].contiguous()
        return output.cache if isinstance(output, NarrowCache) else output

    return tuple(map(restored, outputs))


def first(linear, rows, columns):
    """The first rows and columns of a linear layer's weight, and of its bias: as the model has initialised them."""
    bias = None if linear.bias is None else nn.Parameter(linear.bias[:rows].detach().clone())
    return nn.Parameter(linear.weight[:rows, :columns].detach().clone()), bias


def resize(linear, rows, columns):
    linear.weight, linear.bias = first(linear, rows, columns)
    linear.out_features, linear.in_features = linear.weight.shape


def add_biases(layers):
    """Zeros, until those of the checkpoint are loaded."""
    for linear in layers.modules():
        if isinstance(linear, nn.Linear) and linear.bias is None:
            linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))


# Names of modules, by family.
ATTENTIONS = ("self_attn", "attention")
VALUES = ("v_proj", "qkv_proj", "query_key_value")
OUTPUTS = ("o_proj", "out_proj", "dense")
FFNS = ("mlp", "shared_mlp")
FFN_INPUTS = ("gate_proj", "up_proj", "gate_up_proj", "input_linear", "fc1", "dense_h_to_4h")
FFN_OUTPUTS = ("down_proj", "output_linear", "fc2", "dense_4h_to_h")


def names_in(module, names):
    return [name for name in names if hasattr(module, name)]


def narrow(model, config):
    """Gives each layer the widths of `config.layer_widths`. A layer that keeps all value channels keeps its stock attention."""
    layers = model.layers if hasattr(model, "layers") else model.decoder.layers
    widths = config.layer_widths
    if len(widths) != len(layers):
        raise ValueError(f"config.json: layer_widths has {len(widths)} entries for {len(layers)} layers.")
    query_heads = config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", query_heads)
    if getattr(config, "added_biases", False):
        add_biases(layers)
    for i, (layer, width) in enumerate(zip(layers, widths)):
        [attention] = [getattr(layer, name) for name in names_in(layer, ATTENTIONS)]
        if hasattr(attention, "head_size"):
            attention.head_dim = attention.head_size  # as GPT-NeoX calls it
        ffn = next((getattr(layer, name) for name in names_in(layer, FFNS)), layer)
        [value_name], [output_name], [ffn_out] = names_in(attention, VALUES), names_in(attention, OUTPUTS), names_in(ffn, FFN_OUTPUTS)
        values, size = width["values"], attention.head_dim
        neurons = getattr(ffn, ffn_out).in_features
        if len(values) != heads or not all(0 <= n <= size for n in values) or not 0 < width["ffn"] <= neurons:
            raise ValueError(f"config.json: layer_widths[{i}] does not fit the sizes of the model: {width}")
        for name in names_in(ffn, FFN_INPUTS):
            linear = getattr(ffn, name)
            resize(linear, width["ffn"] * (linear.out_features // neurons), None)  # gate and up may be one layer
        resize(getattr(ffn, ffn_out), None, width["ffn"])
        if min(values) == size:
            continue
        rows = [n for each in values for n in (size, size, each)] if value_name == "query_key_value" else values
        setattr(attention, value_name, ValueProjection(getattr(attention, value_name), rows, size))
        each_query_head = [n for n in values for _ in range(query_heads // heads)]
        setattr(attention, output_name, OutputProjection(getattr(attention, output_name), each_query_head))
        if max(values) < size:
            attention.register_forward_pre_hook(partial(hide_cache, width=max(values)), with_kwargs=True)
            attention.register_forward_hook(partial(restore_cache, width=max(values)))


class FaspLlamaModel(LlamaModel):
    config_class = FaspLlamaConfig

    def __init__(self, config):
        super().__init__(config)
        narrow(self, config)


class FaspLlamaForCausalLM(LlamaForCausalLM):
    config_class = FaspLlamaConfig

    def __init__(self, config):
        super().__init__(config)
        narrow(self.base_model, config)


try:  # transformers 5 calls some stored tensors otherwise, by the class
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping, register_checkpoint_conversion_mapping

    if mapping := get_checkpoint_conversion_mapping("LlamaForCausalLM"):
        register_checkpoint_conversion_mapping("FaspLlamaForCausalLM", mapping, overwrite=True)
except ImportError:
    pass

FaspLlamaModel.register_for_auto_class("AutoModel")
FaspLlamaForCausalLM.register_for_auto_class("AutoModelForCausalLM")
