"""Chapter 6: what did the model look at?

Attention weights are always (layer, batch, head, query, key): the row looks, the
column is looked at. Nothing here knows how a model is built: recording goes through
the ``record`` slot of every :class:`vitbook.attention.MultiHeadSelfAttention`.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from einops import rearrange

from vitbook.attention import MultiHeadSelfAttention


class Recording:
    """The attention weights of the last forward pass inside :func:`record_attention`."""

    def __init__(self, layers, gradients):
        self.layers, self.gradients, self.calls = layers, gradients, []

    def __call__(self, weights):
        if len(self.calls) == self.layers:  # a new forward pass begins
            self.calls = []
        if self.gradients:
            weights.retain_grad()
        self.calls.append(weights if self.gradients else weights.detach())

    @property
    def weights(self):
        """(layer, batch, head, query, key), before dropout; every row sums to one."""
        self.check_complete()
        return torch.stack(self.calls)

    @property
    def weight_gradients(self):
        """Gradient of what was differentiated, same shape; after ``backward()``."""
        self.check_complete()
        if not self.gradients or self.calls[0].grad is None:
            raise RuntimeError(
                "no gradients were recorded: use record_attention(model, gradients=True) "
                "and call backward() on a logit before reading them"
            )
        return torch.stack([weights.grad for weights in self.calls])

    def check_complete(self):
        if len(self.calls) != self.layers:
            raise RuntimeError(
                f"recorded {len(self.calls)} of {self.layers} layers: run the model once "
                "inside the with block before reading the maps"
            )


@contextmanager
def record_attention(model, gradients=False):
    """Record the attention weights of every block while the ``with`` block runs.

    Args:
        model: a module that holds at least one ``MultiHeadSelfAttention``.
        gradients: keep the graph, so that weights have gradients after backward().

    Yields:
        A :class:`Recording`; read ``.weights`` after calling the model. Outside the
        block the fused kernel runs again and nothing stays attached.

    Raises:
        ValueError: the model has no ``MultiHeadSelfAttention`` to record.
    """
    layers = [m for m in model.modules() if isinstance(m, MultiHeadSelfAttention)]
    if not layers:
        raise ValueError(
            f"found no MultiHeadSelfAttention in {type(model).__name__}: its attention "
            "cannot be recorded; load the weights into a vitbook.VisionTransformer"
        )
    recording = Recording(len(layers), gradients)
    for layer in layers:
        layer.record = recording
    try:
        yield recording
    finally:
        for layer in layers:
            layer.record = None


def class_token_map(weights, layer=-1):
    """Where the class token looks, among the patches: (batch, head, patch).

    The class token's own column is left out and the rest rescaled to sum to one.

    Args:
        weights: (layer, batch, head, query, key), class token first.
        layer: which layer; the last by default.
    """
    looks = weights[layer, :, :, 0, 1:]
    return looks / looks.sum(dim=-1, keepdim=True)


def mean_query_map(weights, layer=-1):
    """Where patches look on average, for models without class token: (batch, head, patch)."""
    return weights[layer].mean(dim=-2)


def rollout(weights, residual=True):
    """Attention followed through all layers (Abnar & Zuidema 2020, eq. 1 and 2).

    Heads are averaged. With ``residual``, each layer's matrix becomes half itself, half
    the identity: the block adds attention's output to what was there.

    Args:
        weights: (layer, batch, head, query, key).
        residual: whether to account for the residual connection.

    Returns:
        (batch, query, input token): how much of each input token reaches each output
        token; rows sum to one.
    """
    layers = weights.mean(dim=2)
    identity = torch.eye(layers.shape[-1], dtype=layers.dtype, device=layers.device)
    if residual:
        layers = 0.5 * layers + 0.5 * identity
    flow = identity.expand(layers.shape[1:])
    for layer in layers:
        flow = layer @ flow
    return flow


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


def position_similarity(table, grid):
    """Cosine similarity between all position embeddings. ViT paper, Figure 7 centre.

    Args:
        table: (patch, dim), without the class token's row.
        grid: (rows, columns) of patches.

    Returns:
        (rows, columns, rows, columns): entry [i, j] is the map of position (i, j).
    """
    unit = F.normalize(table, dim=-1)
    pattern = "(h1 w1) (h2 w2) -> h1 w1 h2 w2"
    rows, columns = grid
    return rearrange(unit @ unit.T, pattern, h1=rows, w1=columns, h2=rows, w2=columns)


def patch_filters(projection, channels, patch_size, count):
    """Principal components of the patch projection. ViT paper, Figure 7 left.

    Args:
        projection: weight of the patch embedding, (dim, channel * p * p).
        channels, patch_size: how to fold a row back into a patch.
        count: how many components; at most min(dim, channel * p * p).

    Returns:
        components (count, channel, p, p) of unit length, strongest first, and the
        share of the variance that each holds (count,).
    """
    centred = projection - projection.mean(dim=0)
    _, strength, directions = torch.linalg.svd(centred, full_matrices=False)
    components = directions[:count].reshape(count, channels, patch_size, patch_size)
    return components, strength[:count] ** 2 / (strength**2).sum()
