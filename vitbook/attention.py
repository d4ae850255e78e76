"""Chapter 3: tokens look at each other."""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn


def attention(q, k, v, mask=None, dropout=0.0):
    """Scaled dot-product attention, with the weights kept in the open.

    Vaswani et al. 2017, eq. 1; Dosovitskiy et al. 2021, appendix A:
    ``A = softmax(q kᵀ / √d)``, output ``A v``.

    Args:
        q: (…, query, d).
        k: (…, key, d).
        v: (…, key, value width).
        mask: optional boolean, broadcast to (…, query, key); True = may be looked at,
            as in ``F.scaled_dot_product_attention`` (``nn.MultiheadAttention`` reads
            True as hidden). A row without a single True has weights and output 0.
        dropout: rate at which weights are dropped in the average. The weights
            returned are those before dropout.

    Returns:
        output (…, query, value width) and weights (…, query, key): row = who looks,
        column = what is looked at; every row that may look at something sums to one.
    """
    scores = q @ rearrange(k, "... key d -> ... d key") / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(dim=-1)
    if mask is not None:  # for a row in which all is hidden
        weights = weights.masked_fill(~mask, 0.0)
    return F.dropout(weights, dropout) @ v, weights


def attend(q, k, v, dropout=0.0, record=None):
    """Attention's output alone: by PyTorch's fused kernel, unless someone records.

    The fused kernel never forms the weights, so nobody can read them there. When
    ``record`` is a function, the explicit :func:`attention` runs instead and
    ``record(weights)`` is called. Shapes as in :func:`attention`.
    """
    if record is None:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    output, weights = attention(q, k, v, dropout=dropout)
    record(weights)
    return output


class MultiHeadSelfAttention(nn.Module):
    """Several attentions side by side, each on its share of the width.

    Vaswani et al. 2017, section 3.2.2; Dosovitskiy et al. 2021, appendix A. Put a
    function in ``record`` to be handed the weights, (batch, head, query, key), at
    every call; :func:`vitbook.explain.record_attention` does it for a whole model.

    Args:
        dim: width of a token.
        heads: number of heads; must divide dim.
        dropout: rate of dropout on the attention weights while training.
        bias: whether the query, key and value projections have a bias.

    Shapes: (batch, token, dim) → (batch, token, dim).

    Raises:
        ValueError: dim is not divisible by heads.
    """

    def __init__(self, dim, heads, dropout=0.0, bias=True):
        super().__init__()
        check_heads(dim, heads)
        self.heads, self.dropout, self.record = heads, dropout, None
        self.qkv = nn.Linear(dim, 3 * dim, bias=bias)
        self.out = nn.Linear(dim, dim)

    def forward(self, x):
        split = "b n (three heads d) -> three b heads n d"
        q, k, v = rearrange(self.qkv(x), split, three=3, heads=self.heads)
        dropout = self.dropout if self.training else 0.0
        x = attend(q, k, v, dropout, self.record)
        return self.out(rearrange(x, "b heads n d -> b n (heads d)"))


def check_heads(dim, heads):
    """Refuse a number of heads that does not divide the width, and say which would."""
    if heads < 1 or dim % heads:
        fits = [h for h in range(1, dim + 1) if dim % h == 0 and h <= 32]
        raise ValueError(
            f"dim={dim} is not divisible by heads={heads}: every head needs an equal share "
            f"of the width; choose heads from {fits}"
        )
