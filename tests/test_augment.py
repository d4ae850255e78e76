"""Augmentation on whole batches, against torchvision's for one image."""

import pytest
import torch

from vitbook import data
from vitbook.compat import load_torchvision
from vitbook.data.rand_augment import space

NAMES = {
    "identity": "Identity",
    "shear x": "ShearX",
    "shear y": "ShearY",
    "translate x": "TranslateX",
    "translate y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "autocontrast": "AutoContrast",
    "equalize": "Equalize",
}


def photographs(size=32):
    return torch.stack([data.photograph(name, size) for name in data.PHOTOGRAPHS])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("magnitude", [9, 23])
def test_every_change_is_torchvisions(name, magnitude):
    v2 = load_torchvision("transforms.v2")
    theirs, images = v2.RandAugment(), photographs()[:, :, :20]
    magnitudes, signed = theirs._AUGMENTATION_SPACE[NAMES[name]]
    table = magnitudes(31, *images.shape[-2:])
    strength = float(table[magnitude]) if table is not None else 0.0
    change = space(magnitude / 30, images.shape[-2:])[name]
    for sign in (1, -1) if signed else (1,):
        expected = [
            theirs._apply_image_or_video_transform(
                image,
                NAMES[name],
                sign * strength,
                interpolation=v2.InterpolationMode.NEAREST,
                fill={},
            )
            for image in images
        ]
        changed = change(images, sign)
        difference = (changed.int() - torch.stack(expected).int()).abs()
        assert difference.max() <= 1 and (difference == 0).float().mean() > 0.99
        assert changed.dtype == torch.uint8
        if name not in ("identity", "equalize", "autocontrast"):
            assert not torch.equal(changed, images)


def test_rand_augment_draws_for_every_image():
    images = photographs()[:1].expand(200, -1, -1, -1)
    changed = data.rand_augment(images, 2, 9)
    kinds = {image.numpy().tobytes() for image in changed}
    assert changed.shape == images.shape and len(kinds) > 60
    assert torch.equal(images, photographs()[:1].expand(200, -1, -1, -1))
    grey = data.rand_augment(images[:, :1], 2, 9)
    assert grey.shape == (200, 1, 32, 32) and grey.dtype == torch.uint8


def test_random_erase_blanks_one_rectangle_in_a_share_of_the_images():
    images = torch.ones(2000, 3, 32, 32)
    erased = data.random_erase(images, 0.25)
    hit = (erased == 0).flatten(1).any(dim=1)
    assert 0.2 < hit.float().mean() < 0.3
    for image in erased[hit][:100]:
        blank = image[0] == 0
        assert torch.equal(blank, blank.any(1)[:, None] & blank.any(0))  # a rectangle
        assert (image == image[0]).all()
    share = (erased[hit] == 0).float().mean(dim=(1, 2, 3))
    assert share.max() < 0.4 and 0.1 < share.mean() < 0.2
    assert torch.equal(data.random_erase(images, 0.0), images)


def test_mixup_by_hand():
    images = torch.randn(6, 3, 4, 4)
    mixed, partner, lam = data.mixup(images, 0.8)
    assert sorted(partner.tolist()) == list(range(6)) and 0 <= lam <= 1
    for i, image in enumerate(mixed):
        torch.testing.assert_close(image, lam * images[i] + (1 - lam) * images[partner[i]])


def test_cutmix_pastes_a_rectangle_and_counts_it():
    images = torch.arange(8.0)[:, None, None, None].expand(8, 1, 16, 16)
    shares = []
    for seed in range(200):
        torch.manual_seed(seed)
        mixed, partner, kept = data.cutmix(images, 1.0)
        for i in range(8):
            if partner[i] != i:
                assert (mixed[i] == i).float().mean().item() == pytest.approx(kept)
                assert ((mixed[i] == i) | (mixed[i] == partner[i])).all()
                pasted = (mixed[i] == partner[i])[0]
                assert torch.equal(pasted, pasted.any(1)[:, None] & pasted.any(0))
        shares.append(kept)
    assert min(shares) < 0.2 and max(shares) > 0.98 and 0.5 < sum(shares) / 200 < 0.75


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_what_is_scaled_already_is_not_scaled_again(kind):
    with pytest.raises(ValueError, match=f"whole numbers of 0…255, got {kind}: scaled already"):
        data.normalize(torch.rand(2, 3, 5, 7).to(kind))
    for whole in (torch.uint8, torch.int16, torch.int64):
        assert data.normalize(torch.tensor([0, 255], dtype=whole)).tolist() == [-1, 1]
