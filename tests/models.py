"""Comparisons of whole models, used by the tests and by the tests of the tests."""

import torch
from torch.testing import assert_close

import vitbook
from vitbook.compat import load_torchvision

SMALL = {"image_size": 32, "patch_size": 8, "num_classes": 5}


def randomised(model):
    """Fill every weight: a fresh head of zeros would agree with anything."""
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.2)
    return model.eval()


def small_config():
    return vitbook.ViTConfig(
        image_size=32, patch_size=8, channels=3, classes=5, dim=24, depth=3, heads=3, mlp_dim=40
    )


def compare_with_torchvision(dtype=torch.float32):
    """Raise AssertionError unless logits equal torchvision's, fused and recorded."""
    theirs = load_torchvision("models").VisionTransformer(
        **SMALL, num_layers=3, num_heads=3, hidden_dim=24, mlp_dim=40
    )
    theirs = randomised(theirs).to(dtype)
    ours = vitbook.VisionTransformer(small_config()).to(dtype).eval()
    ours.load_state_dict(vitbook.from_published(theirs.state_dict()))
    images = torch.randn(4, 3, 32, 32, dtype=dtype)
    with torch.no_grad():
        expected = theirs(images)
        assert expected.std() > 0.1  # else equality would say nothing
        tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
        assert_close(ours(images), expected, **tolerance)
        with vitbook.record_attention(ours) as maps:
            assert_close(ours(images), expected, **tolerance)
        assert_close(maps.weights.sum(dim=-1), torch.ones(3, 4, 3, 17, dtype=dtype))
