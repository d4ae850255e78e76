"""Values that must come out exactly: by hand, or as other libraries give them.

Most of these were written because ``make mutants`` changed a token and no test noticed.
"""

import importlib
import math
import re
import zipfile
from io import BytesIO

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from odd_pictures import tiff
from PIL import Image
from torch.testing import assert_close

from vitbook import (
    Embeddings,
    EncoderBlock,
    PatchEmbedding,
    VisionTransformer,
    ViTConfig,
    data,
    explain,
    patchify,
    plot,
    preset,
    resize_positions,
    sincos_2d,
    training,
)
from vitbook import faithfulness as f
from vitbook.attention import check_heads
from vitbook.compat import load_torchvision
from vitbook.data import cache, digits, folders, pictures, sets
from vitbook.explain.learned import patch_filters
from vitbook.published import at_size
from vitbook.training import EngineConfig, TrainConfig, loop, parallel, read_recipe
from vitbook.training.checks import fits_rand_augment
from vitbook.training.loop import train_epoch, train_step
from vitbook.training.muon import Muon, orthogonal
from vitbook.training.start import read_start, told
from vitbook.training.whiten import whiten

rand_augment = importlib.import_module("vitbook.data.rand_augment")


# --- the optimizer ------------------------------------------------------------------------

SHAPES = ((13, 3), (3, 13), (7, 7), (13, 3), (11, 5))


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_muon_is_torchs_for_tall_wide_and_square_matrices():
    ends = []
    for make in (Muon, torch.optim.Muon):
        torch.manual_seed(0)
        weights = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
        optimizer = make(weights, lr=0.3, weight_decay=0.2)
        optimizer.dtype = torch.bfloat16  # theirs always
        for _ in range(3):
            for p in weights[:-1]:  # the last has no gradient
                p.grad = torch.randn(p.shape)
            optimizer.step()
        ends.append([p.detach() for p in weights])
    torch.manual_seed(0)
    starts = [torch.randn(shape) for shape in SHAPES]
    for ours, theirs, start in zip(*ends, starts, strict=True):
        moved = (theirs - start).norm()
        assert (ours - theirs).norm() <= 0.06 * moved  # both round to eight bits
    assert torch.equal(ends[0][-1], starts[-1])


def test_the_learning_rate_by_hand():
    rates = [training.learning_rate(step, 14, 3.0, 1 / 7) for step in range(14)]
    assert rates[:3] == pytest.approx([1.5, 3.0, 3.0])
    assert training.learning_rate(0, 15, 3.0, 0.1) == 1.5  # a share of 1.5 steps: two
    for step, quarter in ((5, 1), (8, 2), (11, 3)):
        expected = 3 * (1 + math.cos(quarter * math.pi / 4)) / 2
        assert rates[step] == pytest.approx(expected)


def test_a_training_step_by_hand():
    """Plain descent: as long as the rate times the gradient, and that no longer than clip."""
    images, labels = torch.randint(256, (5, 1, 2, 3), dtype=torch.uint8), torch.arange(5) % 3
    for clip in (0.05, 1e9):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3))
        twin = torch.nn.Linear(6, 3)
        twin.load_state_dict(model[1].state_dict())
        x = (images.double() / 255 * 2 - 1).float().flatten(1)
        expected = F.cross_entropy(twin(x), labels, label_smoothing=0.3)
        expected.backward()
        length = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm()
        optimizer = torch.optim.SGD(model.parameters(), lr=99.0)
        model[1].weight.grad = torch.ones(3, 6)  # of an earlier step
        config = TrainConfig(clip=clip, label_smoothing=0.3)
        loss = train_step(model, optimizer, images, labels, config, rate=0.7)
        assert loss == pytest.approx(expected.item())
        for p, before in zip(model.parameters(), twin.parameters(), strict=True):
            step = 0.7 * before.grad * min(1, clip / length)
            assert_close(p, before - step, rtol=1e-4, atol=1e-5)


class Bar:
    done = 0.0

    def update(self, share):
        self.done += share


def test_an_epoch_counts_every_image_once_and_its_loss_is_their_mean():
    images, labels = torch.randint(256, (7, 1, 2, 3), dtype=torch.uint8), torch.arange(7) % 3
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 3)).eval()
    seen, rates = [], []
    model.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0]))
    optimizer = torch.optim.SGD(model.parameters(), lr=9.0)
    optimizer.register_step_pre_hook(lambda o, *_: rates.append(o.param_groups[0]["lr"]))
    config = TrainConfig(epochs=5, batch_size=3, learning_rate=1e-12, warmup=0.2, crop=0)
    expected = F.cross_entropy(
        model(data.normalize(images)), labels, label_smoothing=config.label_smoothing
    )
    seen.clear()
    loss = train_epoch(model, optimizer, data.Split(images, labels), config, 1, bar := Bar())
    assert model.training and bar.done == pytest.approx(1)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    fed = torch.cat(seen)
    assert [len(x) for x in seen] == [3, 3, 1] and not torch.equal(fed, data.normalize(images))
    assert_close(fed.sum(0), data.normalize(images).sum(0))
    assert rates == [training.learning_rate(step, 15, 1e-12, 0.2) for step in (3, 4, 5)]


# --- augmentation -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(997, 1009), (499, 331)])
@pytest.mark.parametrize("magnitude", [7, 19, 30])
def test_translations_are_torchvisions_to_the_pixel(shape, magnitude):
    theirs = load_torchvision("transforms.v2").RandAugment._AUGMENTATION_SPACE
    changes = rand_augment.space(magnitude / 30, shape)
    column = torch.arange(shape[1]).remainder(251).add(1).to(torch.uint8)
    row = torch.arange(shape[0]).remainder(251).add(1).to(torch.uint8)
    for name, line, axis in (("X", column, 1), ("Y", row, 0)):
        by = int(theirs[f"Translate{name}"][0](31, *shape)[magnitude])
        image = (line if axis else line[:, None]).expand(1, 1, *shape)
        for sign in (1, -1):
            moved = changes[f"translate {name.lower()}"](image, sign)[0, 0]
            moved = moved[0] if axis else moved[:, 0]
            assert (moved == 0).sum() == by  # black comes in at one end
            kept = line[:-by] if sign > 0 else line[by:]
            assert torch.equal(moved[by:] if sign > 0 else moved[:-by], kept)


def test_every_image_gets_one_change_drawn_evenly_and_gets_it_back(monkeypatch):
    """Three changes add 2, 4 or 6, one more with a minus; an image's own value is 10 times."""
    shapes = []

    def space(strength, shape):
        shapes.append((strength, tuple(shape)))
        return {
            name: lambda x, sign, by=by: x + by + (sign == -1)
            for name, by in (("a", 2), ("color", 4), ("b", 6))
        }

    monkeypatch.setattr(rand_augment, "space", space)
    images = (10 * torch.arange(21).repeat(60).to(torch.uint8)).view(-1, 1, 1, 1)
    colour = images.expand(-1, 3, 5, 7)
    for given, kinds in ((colour, range(2, 8)), (images, (2, 3, 6, 7))):
        before = given.clone()
        added = rand_augment.rand_augment(given, 1, 9) - given
        assert torch.equal(given, before)
        assert (added == added[:, :1, :1, :1]).all()  # all over the image
        counts = added[:, 0, 0, 0].bincount(minlength=8)
        assert counts.sum() == 1260 == counts[list(kinds)].sum()
        assert (counts[list(kinds)] / 1260 * len(kinds) - 1).abs().max() < 0.25
    assert shapes == [(0.3, (5, 7)), (0.3, (1, 1))]
    twice = rand_augment.rand_augment(colour, 2, 9) - colour
    assert twice.min() == 4 and twice.max() == 14


def test_random_erase_by_hand(monkeypatch):
    """A quarter of 4 × 8 is 2 × 4, or as flat as may be 1 × 8, or as tall 4 × 2."""
    dice = torch.tensor([
        # share, slant, top, left, whether
        [0.5, 0.5, 0.25, 0.375, 0.4],  # (.5, 1.5) to (2.5, 5.5): centres on the border stay
        [0.5, 0.5, 0.0, 1.0, 0.4],  # the upper right corner
        [0.5, 1.0, 1.0, 0.5, 0.4],  # 1 × 8, at the bottom
        [0.5, 0.0, 0.0, 0.0, 0.4],  # 4 × 2, at the left
        [0.5, 0.5, 0.5, 0.5, 0.5],  # not below the probability
    ])  # fmt: skip
    monkeypatch.setattr(torch, "rand", lambda *_, **__: dice.T[:, :, None, None])
    erased = data.random_erase(torch.ones(5, 3, 4, 8), 0.5, area=(0.125, 0.375), ratio=0.25)
    expected = torch.ones(5, 4, 8)
    expected[0, 1, 2:5] = 0
    expected[1, :2, 4:] = 0
    expected[2, 3] = 0
    expected[3, :, :2] = 0
    assert torch.equal(erased, expected[:, None].expand(-1, 3, -1, -1))


def test_cutmix_by_hand(monkeypatch):
    """Of 7 × 11, a share of 1/4 is given away: 3.5 × 5.5, so 2 up and down, 3 to each side."""

    class Beta:
        def __init__(self, *alphas):
            assert alphas == (0.7, 0.7)

        def sample(self):
            return torch.tensor(0.75)

    monkeypatch.setattr(torch.distributions, "Beta", Beta)
    monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n).roll(1))
    images = torch.arange(3.0)[:, None, None, None].expand(3, 2, 7, 11)
    for centre, rows, columns in (
        ((3, 5), (1, 5), (2, 8)),
        ((0, 10), (0, 2), (7, 11)),
        ((6, 1), (4, 7), (0, 4)),
    ):
        drawn = dict(zip((7, 11), centre, strict=True))
        monkeypatch.setattr(torch, "randint", lambda end, _, d=drawn: torch.tensor(d[end]))
        mixed, partner, kept = data.cutmix(images, 0.7)
        expected = images.clone()
        expected[:, :, slice(*rows), slice(*columns)] = images.roll(1, dims=0)[..., :1, :1]
        assert torch.equal(mixed, expected) and partner.tolist() == [2, 0, 1]
        pasted = (rows[1] - rows[0]) * (columns[1] - columns[0])
        assert kept == pytest.approx(1 - pasted / 77)


def test_crops_reach_every_place_and_flips_are_even():
    image = torch.arange(1, 36, dtype=torch.uint8).view(1, 1, 5, 7)
    padded = F.pad(image, [2] * 4)
    places = {
        padded[0, 0, top : top + 5, left : left + 7].numpy().tobytes(): (top, left)
        for top in range(5)
        for left in range(5)
    }
    cropped = data.random_crop(image.expand(500, 3, -1, -1), 2)
    assert (cropped == cropped[:, :1]).all()
    assert {places[x[0].numpy().tobytes()] for x in cropped} == set(places.values())
    flipped = data.random_flip(image.expand(1000, 3, -1, -1))
    mirrored = (flipped == image.flip(-1)).flatten(1).all(1)
    assert (mirrored | (flipped == image).flatten(1).all(1)).all()
    assert 440 < mirrored.sum() < 560


def test_normalize_by_hand():
    images = torch.tensor([0, 51, 255], dtype=torch.uint8)
    assert_close(data.normalize(images), torch.tensor([-1.0, -0.6, 1.0]))
    assert_close(data.normalize(images, 0.2, 0.4), torch.tensor([-0.5, 0.0, 2.0]))


# --- data sets ----------------------------------------------------------------------------


def some(count, shuffled=True):
    labels = (torch.arange(count) * 7 % 5) if shuffled else torch.arange(count) // 5
    split = data.Split(torch.arange(count).to(torch.uint8).view(-1, 1, 1, 1), labels)
    return data.Dataset("some", list("abcde"), split, split)


def drawn(count, seed):
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed))


def test_held_out_images_are_those_of_the_seed_and_the_rest_stays():
    given = some(31)
    for arguments, seed in (((7,), 5000), ((7, 3), 3), ((1,), 5000), ((30,), 5000)):
        found, order = sets.hold_out(given, *arguments), drawn(31, seed)
        for part, index in (
            (found.test, order[: arguments[0]]),
            (found.train, order[arguments[0] :]),
        ):
            assert torch.equal(part.images.flatten().long(), index)
            assert torch.equal(part.labels, given.train.labels[index])
    for count in (-1, 0, 31, 32):
        with pytest.raises(
            ValueError, match=f"hold_out={count}: choose from 1 to 30, one less"
        ):
            sets.hold_out(given, count)


def test_the_first_images_are_shuffled_only_where_they_lie_by_class():
    assert sets.first(some(31), 7).train.images.flatten().tolist() == list(range(7))
    lying = some(31, shuffled=False)
    found = sets.first(lying, 7)
    assert torch.equal(found.train.images.flatten().long(), drawn(31, 0)[:7])
    assert torch.equal(found.train.labels, drawn(31, 0)[:7] // 5)
    assert len(sets.first(lying, 1).train.labels) == 1 and found.test is lying.test
    with pytest.raises(ValueError, match="images=0: training needs at least one"):
        sets.first(lying, 0)


def test_a_data_set_goes_to_a_device_whole():
    found = sets.to_device(some(3), "meta")
    assert {part.device.type for part in (*found.train, *found.test)} == {"meta"}
    assert found.name == "some" and found.train.images.shape == (3, 1, 1, 1)


# --- the embedding ------------------------------------------------------------------------


@pytest.mark.parametrize("new", [(3, 2), (5, 13), (17, 19)])
def test_resized_positions_are_timms(new):
    from timm.layers import resample_abs_pos_embed

    table = torch.randn(7 * 11, 5)
    theirs = resample_abs_pos_embed(table[None], new, (7, 11), num_prefix_tokens=0)[0]
    assert_close(resize_positions(table, (7, 11), new), theirs)


def test_positions_far_out_know_the_longest_wavelength():
    entry = sincos_2d((1, 2003), dim=8)[2002]
    angles = [0.0, 0.0, 2002.0, 2002 * 10_000**-0.5]
    expected = [wave(a) for pair in (angles[:2], angles[2:]) for wave in (math.sin, math.cos)
                for a in pair]  # fmt: skip
    assert_close(entry, torch.tensor(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["learned", "sincos", "none"])
@pytest.mark.parametrize("class_token", [True, False])
def test_a_table_has_one_row_a_token(kind, class_token):
    tokens = Embeddings((3, 5), 2, 1, 8, class_token=class_token, position=kind)
    assert tokens.position.shape == (1, 15 + class_token, 8)
    if kind == "learned":
        wide = Embeddings((31, 37), 2, 1, 64, class_token, kind).position
        assert wide.std().item() == pytest.approx(0.02, rel=0.02)
    if kind == "sincos":
        assert torch.equal(tokens.position[0, int(class_token) :], sincos_2d((3, 5), 8))
        assert not tokens.position[0, : int(class_token)].any()


def test_whitened_outputs_are_scikit_learns_and_the_floor_keeps_the_weakest_down():
    from sklearn.decomposition import PCA

    images = torch.randint(256, (211, 1, 6, 10), dtype=torch.uint8)
    images[..., ::2] //= 3  # unequal variances
    embedding = PatchEmbedding(2, 1, 5)
    rest, rest_bias = (p[4:].clone() for p in embedding.projection.parameters())
    whiten(embedding, images, scale=3.0, floor=0.0)
    x = data.normalize(images).unfold(2, 2, 2).unfold(3, 2, 2).reshape(-1, 4)
    theirs = torch.from_numpy(PCA(whiten=True).fit_transform(x.double().numpy()))
    ours = embedding(data.normalize(images)).flatten(0, 1)[:, :4].double()
    signs = (ours * theirs).sum(dim=0).sign()
    assert_close(ours, 3 * theirs * signs, rtol=1e-3, atol=1e-3)
    assert torch.equal(embedding.projection.weight[4:], rest)
    assert torch.equal(embedding.projection.bias[4:], rest_bias)
    whiten(embedding, images)  # the defaults
    variances = torch.linalg.eigvalsh(x.double().T.cov()).flip(0)
    tokens = embedding(data.normalize(images)).flatten(0, 1)[:, :4].double()
    expected = 2 * (variances / (variances + 0.01 * variances.mean())).sqrt()
    assert_close(tokens.std(dim=0), expected, rtol=1e-4, atol=0)
    assert_close(tokens.mean(dim=0), torch.zeros(4).double(), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="at least 4, the numbers of a patch; got dim=3"):
        whiten(PatchEmbedding(2, 1, 3), images)
    whiten(PatchEmbedding(2, 1, 4), images)  # just wide enough


# --- scores of maps -----------------------------------------------------------------------


@pytest.mark.parametrize("level", [None, 0.5, 0.8])
def test_the_level_of_an_interval_is_a_normal_quantile(level):
    from scipy.stats import norm

    values = torch.randn(997)
    mean, low, high = f.interval(values, draws=20_000, **({"level": level} if level else {}))
    wanted = norm.ppf((1 + (level or 0.95)) / 2)
    error = values.std().item() / math.sqrt(997)
    assert (high - mean) / error == pytest.approx(wanted, rel=0.04)
    assert (mean - low) / error == pytest.approx(wanted, rel=0.04)
    assert f.interval(values, draws=7) == f.interval(values, draws=7, seed=0)
    assert f.interval(values, draws=7) != f.interval(values, draws=7, seed=1)


def test_blur_is_torchvisions():
    gaussian_blur = load_torchvision("transforms.v2.functional").gaussian_blur
    images = torch.rand(2, 3, 29, 37)
    assert_close(f.blur(images), gaussian_blur(images, [17, 17], [4.0, 4.0]))
    assert_close(f.blur(images, 1.5), gaussian_blur(images, [7, 7], [1.5, 1.5]))
    narrow = images[:, :, :5]  # the border can be reflected by four pixels
    assert_close(f.blur(narrow), gaussian_blur(narrow, [9, 9], [4.0, 4.0]))
    assert_close(f.blur(narrow.mT), gaussian_blur(narrow.mT, [9, 9], [4.0, 4.0]))


def test_what_a_curve_does_when_not_told():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 6 * 10, 5))
    images, maps, targets = torch.rand(2, 3, 6, 10), torch.zeros(2, 15), torch.tensor([4, 1])
    arguments = (model, images, targets, maps, 2, "deletion")
    told = f.curve(*arguments, fill="mean", steps=8, seed=0)
    assert torch.equal(f.curve(*arguments), told) and told.shape == (2, 9)
    assert not torch.allclose(told, f.curve(*arguments, fill="blur"))
    assert not torch.allclose(told, f.curve(*arguments, seed=1))


def test_the_centre_prior_by_hand():
    hill = f.centre_prior((3, 5))
    expected = [
        math.exp(-8 * (row**2 / 9 + column**2 / 25))
        for row in (-1, 0, 1)
        for column in (-2, -1, 0, 1, 2)
    ]
    assert_close(hill, torch.tensor(expected))


# --- figures ------------------------------------------------------------------------------


@pytest.fixture
def axes():
    figure, axes = plt.subplots()
    yield axes
    plt.close("all")


def test_pictures_are_drawn_as_they_are(axes):
    for image, top in (
        (torch.randint(256, (3, 5, 7), dtype=torch.uint8), 255),
        (torch.rand(1, 5, 7), 1),
    ):
        plot.show_image(axes, image, "a title")
        drawn = axes.images[-1]
        channels_last = image[0] if len(image) == 1 else torch.stack(tuple(image), dim=-1)
        assert (drawn.get_array() == channels_last.numpy()).all()
        assert drawn.get_clim() == (0, top)
    assert axes.get_title() == "a title" and len(axes.get_xticks()) == 0 == len(
        axes.get_yticks()
    )


@pytest.mark.parametrize("titles", [None, list("abcdefg")])
def test_a_grid_of_pictures_goes_row_by_row(titles, axes):
    found = plot.image_grid(torch.rand(7, 1, 2, 3), titles, columns=3, size=2)
    assert len(found) == 7 and all(ax.axison for ax in found)
    assert [ax.get_title() for ax in found] == (titles or [""] * 7)
    figure = found[0].figure
    assert [ax.axison for ax in figure.axes] == [True] * 7 + [False] * 2
    assert found[4].get_subplotspec().rowspan.start == 1
    assert found[4].get_subplotspec().colspan.start == 1
    assert figure.get_size_inches() == pytest.approx([6, 3 * 2 * (1.2 if titles else 1)])


def test_lines_and_frames_lie_between_pixels(axes):
    plot.patch_lines(axes, (6, 10), 2)
    rows, columns = axes.lines[:2], axes.lines[2:]
    assert [line.get_ydata()[0] for line in rows] == [1.5, 3.5]
    assert [line.get_xdata()[0] for line in columns] == [1.5, 3.5, 5.5, 7.5]
    plot.patch_outline(axes, torch.tensor(13), (3, 5), 7)  # row 2, column 3
    plot.box_outline(axes, (2, 3, 7, 14))
    assert [patch.get_bbox().bounds for patch in axes.patches] == [
        (20.5, 13.5, 7, 7),
        (2.5, 1.5, 11, 5),
    ]
    assert not any(patch.get_fill() for patch in axes.patches)


def test_a_heat_map_lies_over_the_whole_picture(axes):
    values, image = torch.rand(15), torch.randint(256, (3, 6, 10), dtype=torch.uint8)
    alone = plot.heatmap(axes, values, (3, 5), title="a map")
    assert torch.equal(torch.tensor(alone.get_array()), values.view(3, 5))
    assert alone.get_extent() == [-0.5, 4.5, 2.5, -0.5] and alone.get_alpha() is None
    assert alone.get_clim() == pytest.approx((0, values.max().item()))
    over = plot.heatmap(axes, values, (3, 5), image, top=2)
    assert over.get_extent() == [-0.5, 9.5, 5.5, -0.5] == axes.images[-2].get_extent()
    assert over.get_clim() == (0, 2) and 0 < over.get_alpha() < 1
    assert_close(torch.tensor(axes.images[-2].get_array()), image.float().mean(dim=0))
    assert axes.get_title() == "a map" and len(axes.get_xticks()) == 0 == len(axes.get_yticks())


# --- borders and refusals -----------------------------------------------------------------


def test_what_is_refused_and_what_is_just_allowed():
    with pytest.raises(ValueError, match=r"choose heads from \[1, 2, 4, 8, 16, 32\]"):
        check_heads(64, 5)
    with pytest.raises(ValueError, match=r"choose heads from \[1, 2, 4, 8\]"):
        ViTConfig(6, 2, 1, 3, 8, 1, 3, 16)
    for name in ("dropout", "attention_dropout", "drop_path"):
        with pytest.raises(ValueError, match=f"{name} must be from 0 to below 1, got 1"):
            ViTConfig(6, 2, 1, 3, 8, 1, 2, 16, **{name: 1.0})
    good, bad = ([], [2, 9], [1, 0], (3, 30.0)), ([True, 5], [2, True], [0, 5], [2, 31])
    assert all(map(fits_rand_augment, good)) and not any(map(fits_rand_augment, bad))


def test_a_block_drops_nothing_when_not_told():
    block, x = EncoderBlock(6, 2, 10), torch.randn(3, 5, 6)
    assert torch.equal(block.train()(x), block.eval()(x))


def test_a_seed_fixes_a_training_whatever_was_drawn_before():
    weights = []
    for before in (3, 4):
        model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 5))
        torch.nn.init.zeros_(model[1].weight), torch.nn.init.zeros_(model[1].bias)
        torch.manual_seed(before)
        config = TrainConfig(epochs=1, batch_size=3, crop=0)
        training.train(model, some(31), config, progress=False)
        weights.append(model[1].weight)
    assert torch.equal(*weights)


def test_what_the_first_process_made_is_what_all_get(monkeypatch):
    monkeypatch.setattr(parallel, "world", lambda: 2)
    monkeypatch.setattr(parallel, "rank", lambda: 1)
    monkeypatch.setattr(
        parallel.distributed,
        "broadcast_object_list",
        lambda made, _: made.append(made.pop() or 7),
    )
    assert parallel.from_first(lambda: 5) == 7


def test_principal_filters_are_scikit_learns():
    from sklearn.decomposition import PCA

    projection = torch.randn(23, 2 * 3 * 3) + 2
    found, shares = patch_filters(projection, 2, 3, 5)
    theirs = PCA(5).fit(projection.double().numpy())
    assert_close(shares.double(), torch.tensor(theirs.explained_variance_ratio_).double(),
                 rtol=1e-4, atol=0)  # fmt: skip
    overlap = (found.flatten(1).double() * torch.tensor(theirs.components_)).sum(dim=1)
    assert_close(overlap.abs(), torch.ones(5).double(), rtol=1e-4, atol=0)


def test_another_size_keeps_the_number_format():
    model = VisionTransformer(ViTConfig(6, 2, 1, 3, 8, 1, 2, 16))
    assert at_size(model.bfloat16(), 10).embeddings.position.dtype == torch.bfloat16


# --- files --------------------------------------------------------------------------------


def test_the_canvas_has_its_recorded_size(monkeypatch):
    monkeypatch.setattr(digits, "digits_canvas", lambda split, *given: given)
    train, test = digits.load_digits_canvas()[2:4]
    assert (*train, *test) == (200_000, 1, 2_000, 2)


def png(value, shape=(5, 7)):
    out = BytesIO()
    Image.new("L", shape[::-1], value).save(out, "PNG")
    return out.getvalue()


def test_a_picture_is_known_by_its_name_too():
    assert cache.none((5, 7)).shape == (0, 3, 5, 7)
    for values in ((11, 13), (17, 19)):  # other names, the same size and time
        files = [folders.File((f"{v}.png",), "", lambda v=v: png(v), (1, 2)) for v in values]
        images, found = cache.read_pictures(files, (5, 7), "names")
        assert images[:, 0, 0, 0].tolist() == list(values) and found == [1, 1]


@pytest.mark.parametrize(
    "names, parts",
    [
        (["a/x/1.png", "b/y/2.png"], [("a", "x", "1.png"), ("b", "y", "2.png")]),
        (["p/Train/a/1.png", "q/Test/a/2.png"],
         [("Train", "a", "1.png"), ("Test", "a", "2.png")]),
        (["p/q/a/1.png", "p/q/b/2.png"], [("a", "1.png"), ("b", "2.png")]),
    ],
)  # fmt: skip
def test_folders_above_are_left_away(names, parts, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for name in names:
            archive.writestr(name, png(3))
    assert [file.parts for file in folders.list_zip(tmp_path / "all.zip")] == parts
    (tmp_path / "notes").mkdir()  # one folder beside it: no class folders
    found = [file.parts for file in folders.list_files(tmp_path)]
    assert found == [*parts, ("notes",)]


def test_pictures_of_three_sizes_are_refused_by_two(tmp_path):
    for i, kind in enumerate("abc"):
        (tmp_path / kind).mkdir()
        for j in range(2):
            (tmp_path / kind / f"{j}.png").write_bytes(png(3, (5, 7 + i)))
    with pytest.raises(ValueError, match=r"differ in size: \(5, \d\) in .* and \(5, \d\) in"):
        data.load(str(tmp_path))


# --- a second sample of faults ------------------------------------------------------------


def test_the_defaults_of_the_loop_are_the_digits_recipe():
    said = read_recipe("digits").train
    for name, value in vars(TrainConfig()).items():
        assert getattr(said, name) == value, name


def test_augmenting_flips_where_it_is_told_to():
    images = torch.arange(5 * 7, dtype=torch.uint8).reshape(5, 7).expand(40, 1, 5, 7)
    flipped = loop.augment(images, TrainConfig(crop=0, flip=True)) == images.flip(-1)
    assert 0 < flipped.flatten(1).all(dim=1).sum() < 40
    assert torch.equal(loop.augment(images, TrainConfig(crop=0, flip=False)), images)


def test_muon_multiplies_in_the_precision_it_is_given():
    ends = []
    for kind in (torch.float32, torch.bfloat16):
        p = torch.nn.Parameter(torch.zeros(5, 3))
        p.grad = torch.arange(15.0).sin().view(5, 3)
        optimizer = Muon([p], lr=1.0)
        optimizer.dtype = kind
        optimizer.step()
        ends.append(p.detach())
    assert not torch.equal(*ends)
    ahead = p.grad * (1 - 0.95) * (1 + 0.95)  # of the first step: a share, led on once
    expected = -orthogonal(ahead.bfloat16()[None])[0].float() * (5 / 3) ** 0.5
    assert_close(ends[1], expected, atol=0.02, rtol=0)


def test_a_settings_border_belongs_to_no_rate():
    for name in ("learning_rate", "muon_learning_rate"):
        for bad in (0, 0.0, -1e-3, math.inf, math.nan):
            with pytest.raises(ValueError, match=f"{name} must be above 0 and finite"):
                EngineConfig(**{name: bad})
    assert not any(map(fits_rand_augment, ([2.5, 9], [2.0, 9], [2, "a"], ["2", 9], [2])))


def test_patch_sizes_that_would_do_divide_both_sides():
    with pytest.raises(ValueError, match=r"use a patch size from \[1, 2\], or crop"):
        patchify(torch.zeros(1, 1, 6, 10), 4)


def test_the_digits_have_ten_names():
    assert data.load("digits").classes == list("0123456789")


def test_another_size_for_both_parts_of_a_data_set():
    one = data.Split(torch.zeros(3, 1, 5, 7, dtype=torch.uint8), torch.tensor([0, 1, 2]))
    both = data.Dataset("x", ["a", "b", "c"], one, one._replace(labels=one.labels + 1))
    small = data.resized(both, (2, 3))
    assert small.train.images.shape == small.test.images.shape == (3, 1, 2, 3)
    assert small.test.labels.tolist() == [1, 2, 3] and small.classes == both.classes


@pytest.mark.parametrize("axis, first", [(-2, 2), (-1, 2)])
def test_the_cut_is_in_the_middle(axis, first):
    """Seven rows, or columns, of three: those from 2 to 4 stay, their values as they are."""
    shape = [3, 3]
    shape[axis] = 7
    lines = (30 * torch.arange(7, dtype=torch.uint8)).unsqueeze(-1 if axis == -2 else 0)
    image = lines.expand(shape)[None]
    cut = image.narrow(axis, first, 3)
    assert torch.equal(data.square(image, 3), cut)


def test_a_hard_edge_does_not_overflow():
    """Bicubic curves leave 0…255 beside an edge; what is above must not come out black."""
    image = torch.zeros(1, 12, 12, dtype=torch.uint8)
    image[..., 6:] = 255
    grown = data.square(image, 48)
    assert grown.dtype == torch.uint8
    assert (grown.int().diff(dim=-1) >= -40).all() and grown[..., 28:].min() > 200
    assert grown[..., :20].max() < 55


def test_colour_turns_grey_by_its_luma():
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]]).byte()
    grey = pictures.channels(colours.T.reshape(3, 2, 2), 1)
    assert grey.dtype == torch.uint8 and grey.flatten().tolist() == [76, 150, 29, 18]


def test_white_is_zero_to_the_last_bit():
    """In 16 bits, 0 is white and 65535 black; Pillow leaves the turning to us."""
    pixels = pictures.decode(tiff(np.array([[0, 65535], [256, 40000]]), 16, True), "t.tif")
    assert pixels.flatten().tolist() == [255, 0, 254, (65535 - 40000) >> 8]


def test_pipes_are_rounded_and_not_cut_off():
    look = torch.tensor([[0.29, 0.71], [0.5, 0.5]])[None, None, None]
    flow = explain.attention_flow(look, residual=False, precision=10)
    assert_close(flow, torch.tensor([[0.3, 0.7]]))


def test_a_class_is_known_by_its_name_whatever_kind_of_thing_it_is():
    start = VisionTransformer(preset("digits"))
    said = told("w", start, known=[3, "a"], classes=[3, "b"], new=[])
    assert "its head knows 1 of 2 classes by name" in said and "new: nothing" in said


def test_an_unreadable_file_is_answered_in_words(tmp_path):
    """On one line, whatever the reader's own message looks like."""
    (tmp_path / "w.pth").write_bytes(b"no pickle at all")
    with pytest.raises(ValueError, match="is no state dict of tensors alone: ") as said:
        read_start(tmp_path / "w.pth")
    assert "\n" not in str(said.value) and re.search(r"alone: \w{3,} \w+", str(said.value))
