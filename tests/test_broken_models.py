"""The comparison with torchvision must fail for models that are wrong in known ways."""

import pytest
import torch
import torch.nn.functional as F
from models import compare_with_torchvision

import vitbook.attention
from vitbook.embeddings import Embeddings


def class_token_without_position(self, images):
    tokens = self.patches(images) + self.position[:, 1:]
    first = self.class_token.expand(len(images), 1, -1)
    return torch.cat([first, tokens], dim=1)


def scale_by_root_dim(q, k, v, dropout=0.0, record=None):
    dim = q.shape[-3] * q.shape[-1]  # heads × head width
    return F.scaled_dot_product_attention(q, k, v, scale=dim**-0.5)


def softmax_over_queries(q, k, v, dropout=0.0, record=None):
    return (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-2) @ v


def softmax_over_queries_when_recorded(q, k, v, mask=None, dropout=0.0):
    weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-2)
    return weights @ v, weights


@pytest.mark.parametrize(
    "target, name, broken",
    [
        (Embeddings, "forward", class_token_without_position),
        (vitbook.attention, "attend", scale_by_root_dim),
        (vitbook.attention, "attend", softmax_over_queries),
        (vitbook.attention, "attention", softmax_over_queries_when_recorded),
    ],
)
def test_a_planted_fault_is_found(monkeypatch, target, name, broken):
    compare_with_torchvision()
    monkeypatch.setattr(target, name, broken)
    with pytest.raises(AssertionError):
        compare_with_torchvision()
