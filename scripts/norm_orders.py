"""Chapter 4's stacks at five learning rates, five draws each: python scripts/norm_orders.py.

Each learns scikit-learn's digits for 60 steps; post-norm also with a warm-up. Every run is a
row of vitbook/runs/norm_orders.json. A run that is there is not done again.
"""

import json
from itertools import product
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from vitbook import MLP, MultiHeadSelfAttention, VisionTransformer, preset
from vitbook.data import load, normalize
from vitbook.training.engine import write_whole
from vitbook.training.runs import commit, device_name

RECORD = Path(__file__).resolve().parent.parent / "vitbook/runs/norm_orders.json"
RATES = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3)


class PreNorm(nn.Module):
    """A branch behind a norm, added to the stream."""

    def __init__(self, dim, branch):
        super().__init__()
        self.norm, self.branch = nn.LayerNorm(dim, eps=1e-6), branch

    def forward(self, x):
        return x + self.branch(self.norm(x))


class PostNorm(PreNorm):
    """A branch added to the stream, and a norm over the sum."""

    def forward(self, x):
        return self.norm(x + self.branch(x))


class NoResidual(PreNorm):
    """A branch behind a norm, in place of the stream."""

    def forward(self, x):
        return self.branch(self.norm(x))


def stack(kind, depth, dim):
    """As many blocks, Xavier's weights, biases of zero: (batch, token, dim) → the same."""
    layers = []
    for _ in range(depth):
        layers.append(kind(dim, MultiHeadSelfAttention(dim, heads=4)))
        layers.append(kind(dim, MLP(dim, 4 * dim)))
    layers = nn.Sequential(*layers)
    for module in layers.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return layers


KINDS = {"pre-norm": PreNorm, "post-norm": PostNorm, "no residual": NoResidual}


def learn(kind, rate, seed, warmup=0, steps=60, depth=24):
    """Train once, from the same weights and batches for every kind.

    Args:
        kind: one of KINDS.
        rate: learning rate after the warm-up.
        seed: draws weights and batches.
        warmup: steps in which the rate rises in a line.
        steps: of 64 digits each.
        depth: number of blocks.

    Returns:
        One loss a step.
    """
    digits = load("digits").train
    torch.manual_seed(seed)
    model = VisionTransformer(preset("digits", position="learned"))
    model.blocks = stack(KINDS[kind], depth, dim=48)
    optimizer, losses = torch.optim.AdamW(model.parameters()), []
    for step, index in enumerate(torch.randint(len(digits.labels), (steps, 64)), 1):
        optimizer.param_groups[0]["lr"] = rate * min(1, step / max(1, warmup))
        loss = F.cross_entropy(model(normalize(digits.images[index])), digits.labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def runs():
    """All that are recorded: (kind, rate, seed, warm-up)."""
    for seed in range(5):
        yield from ((kind, rate, seed, 0) for kind, rate in product(KINDS, RATES))
        yield "post-norm", 3e-4, seed, 30


def main():
    """All runs that are not in the record yet."""
    made = {"commit": commit(), "device": device_name(torch.device("cpu"))}
    about = {**made, "torch": torch.__version__}
    rows = json.loads(RECORD.read_text("utf-8"))["rows"] if RECORD.exists() else []
    for run in runs():
        row = dict(zip(("kind", "rate", "seed", "warmup"), run, strict=True))
        if any(row.items() <= old.items() for old in rows):
            continue
        tens = torch.tensor(learn(*run)).reshape(-1, 10).mean(dim=1).tolist()
        rows.append({**row, "loss": [round(loss, 3) for loss in tens]})
        lines = ",\n".join(json.dumps(row) for row in rows)
        text = f'{{"about": {json.dumps(about)},\n"rows": [\n{lines}\n]}}\n'
        write_whole(RECORD, lambda path, text=text: path.write_text(text))
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
