"""Biases and norms of new models start at constants that would hide mistakes: this gives them others."""
import torch


def randomise(model):
    for name, p in model.named_parameters():
        if p.ndim == 1:
            p.data = torch.randn_like(p) * 0.2 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
