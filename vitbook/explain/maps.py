"""Chapter 6: maps that are read off the weights of one layer.

Attention weights are always (layer, batch, head, query, key): the row looks, the
column is looked at.
"""

import math

import torch


def class_token_map(weights, layer=-1, grid=None):
    """Where the class token looks, among the patches: (batch, head, patch).

    The class token's own column is left out and the rest rescaled to sum to one.

    Args:
        weights: (layer, batch, head, query, key), class token first.
        layer: which layer; the last by default.
        grid: (rows, columns) of patches; a square by default.

    Raises:
        ValueError: the tokens are not one more than the patches.
    """
    tokens = weights.shape[-1]
    rows, columns = grid or [math.isqrt(tokens - 1)] * 2
    if tokens != rows * columns + 1:
        raise ValueError(
            f"{tokens} tokens are not a class token and {rows} × {columns} patches; give the "
            "grid, or ask mean_query_map where there is no class token"
        )
    looks = weights[layer, :, :, 0, 1:]
    return looks / looks.sum(dim=-1, keepdim=True)


def mean_query_map(weights, layer=-1):
    """Where patches look on average, for models without class token: (batch, head, patch)."""
    return weights[layer].mean(dim=-2)


def patch_distances(grid, patch_size):
    """Distance between the centres of all patches, in pixels: (patch, patch)."""
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    centres = torch.stack([rows.flatten(), columns.flatten()], dim=1) * float(patch_size)
    return torch.cdist(centres, centres)


def mean_attention_distance(weights, grid, patch_size):
    """How far patches look, in pixels: (layer, head). ViT paper, Figure 7 right.

    Args:
        weights: (layer, batch, head, query, key), with or without a class token, which
            is left out; what remains of each row is rescaled to sum to one.
        grid: (rows, columns) of patches.
        patch_size: side of a patch in pixels.
    """
    patches = grid[0] * grid[1]
    looks = weights[..., -patches:, -patches:]
    looks = looks / looks.sum(dim=-1, keepdim=True)
    distances = patch_distances(grid, patch_size).to(looks)
    return (looks * distances).sum(dim=-1).mean(dim=(1, 3))


def mass_threshold(map_, mass=0.6):
    """The smallest set of patches that holds a share of a map (Caron et al. 2021, DINO).

    Args:
        map_: (…, patch), not negative; need not sum to one.
        mass: the share to hold, 0…1, to a millionth.

    Returns:
        (…, patch), True for the patches of the set; none of an empty map. Of equally
        bright patches the first in reading order is taken.
    """
    strongest = map_.argsort(dim=-1, descending=True, stable=True)
    shares = map_.double().gather(-1, strongest) / map_.double().sum(dim=-1, keepdim=True)
    held_before = shares.cumsum(dim=-1) - shares
    # The last patch is the one that crosses the mark; rounding must not add one more.
    inside = held_before < mass - 1e-6
    return torch.zeros_like(inside).scatter(-1, strongest, inside)


def normalised_entropy(weights):
    """How evenly each token looks: 0 for at one token only, 1 for at all alike.

    ``−Σ_j A_ij log A_ij / log N`` over the N keys.

    Args:
        weights: (layer, batch, head, query, key).

    Returns:
        (layer, batch, head, query).
    """
    entropy = -torch.special.xlogy(weights, weights).sum(dim=-1)
    return entropy / math.log(weights.shape[-1])


@torch.no_grad()
def token_norms(model, images):
    """Length of every token after every block: (layer, batch, token).

    Large models have a few patch tokens that are ten times longer than the rest and hold
    something else than their patch (Darcet et al. 2024).

    Args:
        model: a :class:`vitbook.VisionTransformer`.
        images: (batch, channel, height, width), normalised.
    """
    norms = []
    hooks = [
        block.register_forward_hook(lambda block, inputs, x: norms.append(x.norm(dim=-1)))
        for block in model.blocks
    ]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(norms)
