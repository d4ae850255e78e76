"""Chapter 6: every method's map of the same images, side by side."""

import torch

from vitbook.explain.flow import discard_weakest, rollout
from vitbook.explain.gradients import (
    gradient_attention_of,
    input_gradient,
    readout,
    recorded_with_gradients,
    relevance_of,
)


def every_map(model, images, targets=None, batch_size=100):
    """The map of every method but attention flow, which is too slow for many images.

    Args:
        model: a :class:`vitbook.VisionTransformer`, in evaluation mode.
        images: (image, channel, height, width), normalised.
        targets: (image,), the classes that gradients are asked about; the predicted
            ones by default.
        batch_size: images at a time.

    Returns:
        {name: (image, patch)}, not negative.
    """
    parts = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size]
        asked = None if targets is None else targets[start : start + batch_size]
        parts.append(maps_of_batch(model, batch, asked))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def maps_of_batch(model, images, targets):
    """The maps of one batch, from one recorded pass."""
    weights, gradients = recorded_with_gradients(model, images, targets)
    heads = weights.mean(dim=2)
    identity = torch.eye(weights.shape[-1]).to(weights)
    tables = {
        **{f"layer {number}": table for number, table in enumerate(heads, start=1)},
        "mean of layers": heads.mean(dim=0),
        "rollout": rollout(weights),
        "rollout, no residual": rollout(weights, residual=False),
        "rollout, 90% dropped": rollout(discard_weakest(weights, 0.9, is_cls(model))),
        "gradient attention": gradient_attention_of(weights, gradients, is_cls(model)),
        "relevance": relevance_of(weights, gradients) - identity,
    }
    maps = {name: readout(table, model).clamp(min=0) for name, table in tables.items()}
    return {**maps, "input gradient": input_gradient(model, images, targets)}


def is_cls(model):
    """Whether the model has a class token."""
    return model.config.pool == "cls"
