import json

import position_order
import pytest
import torch
from torch.testing import assert_close

from vitbook import Embeddings, PatchEmbedding, patchify, resize_positions, sincos_2d


def test_a_token_is_a_weighted_sum_of_its_own_patch():
    embed = PatchEmbedding(patch_size=2, channels=1, dim=3)
    images = torch.randn(1, 1, 4, 4)
    patch = images[0, 0, 0:2, 2:4].flatten()
    assert_close(embed(images)[0, 1], embed.projection.weight @ patch + embed.projection.bias)


def test_equation_1_by_hand():
    embeddings = Embeddings((2, 2), patch_size=2, channels=1, dim=4)
    torch.nn.init.normal_(embeddings.class_token)
    images = torch.randn(3, 1, 4, 4)
    z0 = embeddings(images)
    assert z0.shape == (3, 5, 4)
    for image in range(3):
        assert_close(z0[image, 0], embeddings.class_token[0, 0] + embeddings.position[0, 0])
    assert_close(z0[:, 1:], embeddings.patches(images) + embeddings.position[:, 1:])


def test_without_class_token_there_is_one_token_per_patch():
    embeddings = Embeddings((2, 3), 2, 1, 4, class_token=False)
    assert embeddings.class_token is None
    assert embeddings(torch.zeros(1, 1, 4, 6)).shape == (1, 6, 4)
    assert embeddings.position.shape == (1, 6, 4)


def test_sincos_by_hand():
    table = sincos_2d((3, 5), dim=8)
    assert table.shape == (15, 8)
    row, column = 2, 3
    entry = table[row * 5 + column]
    slow = 10_000 ** -(1 / 2)
    place = torch.tensor
    expected = [
        place(2.0).sin(), place(2.0 * slow).sin(), place(2.0).cos(), place(2.0 * slow).cos(),
        place(3.0).sin(), place(3.0 * slow).sin(), place(3.0).cos(), place(3.0 * slow).cos(),
    ]  # fmt: skip
    assert_close(entry, torch.stack(expected))
    with pytest.raises(ValueError, match="divisible by 4, got dim=6"):
        sincos_2d((2, 2), 6)


def test_only_a_learned_table_asks_for_gradients():
    kinds = {
        kind: Embeddings((2, 2), 2, 1, 8, position=kind)
        for kind in ("learned", "sincos", "none")
    }
    assert [e.position.requires_grad for e in kinds.values()] == [True, False, False]
    assert (kinds["none"].position == 0).all()
    assert (kinds["sincos"].position[0, 0] == 0).all()
    with pytest.raises(ValueError, match='must be "learned", "sincos" or "none", got .rotary.'):
        Embeddings((2, 2), 2, 1, 8, position="rotary")


def test_resizing_positions():
    table = torch.randn(6, 5)
    assert_close(resize_positions(table, (2, 3), (2, 3)), table)
    flat = torch.ones(16, 4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert_close(resize_positions(flat, (4, 4), (7, 9)), flat[:1].expand(63, 4))
    ramp = torch.arange(8.0)[:, None].expand(8, 8).reshape(64, 1)  # grows with the row
    larger = resize_positions(ramp, (8, 8), (16, 16)).reshape(16, 16)
    assert (larger.diff(dim=0)[2:-2] > 0.4).all()
    assert_close(larger, larger[:, :1].expand(16, 16))
    for kind in (torch.bfloat16, torch.float16):  # which PyTorch does not resize by itself
        low = resize_positions(table.to(kind), (2, 3), (5, 7))
        assert low.dtype == kind
        assert_close(low.float(), resize_positions(table, (2, 3), (5, 7)), atol=0.03, rtol=0)


def test_a_place_is_a_neighbour_by_the_patch_that_stands_there():
    shown = torch.tensor([5, 0, 3, 1, 4, 2])  # of a grid of 2 rows and 3 columns
    places = torch.stack([shown // 3, shown % 3], dim=1)
    alike = torch.eye(6)
    touching = [(i, j) for i in range(6) for j in range(6)
                if (places[i] - places[j]).abs().sum() == 1]  # fmt: skip
    alike[tuple(zip(*touching, strict=True))] = 0.25
    rows = torch.linalg.cholesky(alike)  # unit rows with exactly these dot products
    assert position_order.touching_and_others(rows, shown, (2, 3)) == [0.25, 0.0]
    by_number = position_order.touching_and_others(rows, torch.arange(6), (2, 3))
    assert 0 < by_number[0] < 0.25 and by_number[1] > 0


def test_reordering_shows_the_named_patches_and_a_new_order_every_time():
    images = torch.arange(3 * 64.0).reshape(3, 1, 8, 8)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    patches = patchify(position_order.Reordered(torch.nn.Identity(), order)(images), 2)
    assert torch.equal(patches, patchify(images, 2)[:, order])
    mixed = position_order.Reordered(torch.nn.Identity())
    one, two = mixed(images), mixed(images)
    assert not torch.equal(one, two)
    assert not torch.equal(one[0], one[1] - 64)  # nor the same for all pictures
    for found in (one, two):
        assert torch.equal(found.flatten(1).sort().values, images.flatten(1))


def test_the_record_of_orders_says_what_chapter_2_says():
    record = json.loads(position_order.RECORD.read_text("utf-8"))
    assert set(record) == {*position_order.KINDS, "about"}
    gaps = {}
    for kind in position_order.KINDS:
        assert [run["seed"] for run in record[kind]] == list(position_order.SEEDS)
        for key in ("by picture", "by number"):
            gaps[kind, key] = [near - far for near, far in (run[key] for run in record[kind])]
    assert min(gaps["in order", "by picture"] + gaps["one wrong order", "by picture"]) > 0.4
    assert max(map(abs, gaps["one wrong order", "by number"])) < 0.05
    assert max(map(abs, gaps["a new order each time", "by number"])) < 0.05
    assert max(gaps["labels by lot", "by number"]) < 0.2


def test_one_run_of_the_orders():
    run = position_order.one_run("one wrong order", seed=3, epochs=1)
    assert run["seed"] == 3 and 0 < run["test_accuracy"] < 1
    assert run["by picture"] != run["by number"]
