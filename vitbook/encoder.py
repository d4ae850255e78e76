"""Chapter 4: the block that is stacked."""

import torch.nn.functional as F
from torch import nn

from vitbook.attention import MultiHeadSelfAttention


class MLP(nn.Module):
    """Two linear layers with a GELU between, on every token alone.

    Dosovitskiy et al. 2021, section 3.1. Their code computes GELU by a formula with tanh.

    Shapes: (…, dim) → (…, dim).
    """

    def __init__(self, dim, hidden, dropout=0.0):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        x = self.dropout(F.gelu(self.fc1(x)))
        return self.dropout(self.fc2(x))


class DropPath(nn.Module):
    """While training, silence the whole branch for some images (stochastic depth).

    Each image's branch is dropped with probability ``rate``; the branches that stay are
    divided by 1 − rate, so that the mean is unchanged. (Huang et al. 2016 drop a branch for
    the whole batch, and multiply by 1 − rate when the model is used.)

    Shapes: (batch, …) → the same.
    """

    def __init__(self, rate=0.0):
        super().__init__()
        self.rate = rate

    def forward(self, branch):
        if not self.training or self.rate == 0:
            return branch
        keep = 1 - self.rate
        one_per_image = (len(branch),) + (1,) * (branch.ndim - 1)
        stays = branch.new_empty(one_per_image).bernoulli_(keep)
        return branch * stays / keep


class EncoderBlock(nn.Module):
    """Pre-norm block, eq. 2 and 3: attention, then MLP, each added to the stream.

    Args:
        dim: width of a token.
        heads: number of attention heads.
        mlp_dim: hidden width of the MLP.
        dropout: rate of dropout inside the MLP; the paper drops attention's output too.
        attention_dropout: rate of dropout on the attention weights.
        drop_path: rate at which an image skips a branch while training.
        bias: whether query, key and value have a bias.

    Shapes: (batch, token, dim) → (batch, token, dim).
    """

    def __init__(
        self, dim, heads, mlp_dim, dropout=0.0, attention_dropout=0.0, drop_path=0.0, bias=True
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiHeadSelfAttention(dim, heads, attention_dropout, bias)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = MLP(dim, mlp_dim, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x):
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))
