import pytest
import torch
from torch.testing import assert_close

from vitbook import VisionTransformer, preset
from vitbook import faithfulness as f


def test_boxes_by_hand():
    inside = f.inside_boxes(torch.tensor([[4, 0, 12, 4], [0, 0, 8, 8]]), (3, 2), 4)
    assert inside.tolist() == [[0, 0, 1, 0, 1, 0], [1, 1, 1, 1, 0, 0]]


def test_scores_by_hand():
    inside = torch.tensor([[1.0, 1, 0, 0]] * 4)
    maps = torch.tensor([[0.1, 0.5, 0.2, 0.2], [0, 0, 3, 1.0], [1, 1, 1, 1.0], [0, 0, 0, 0.0]])
    assert_close(f.pointing(maps, inside), torch.tensor([1.0, 0.0, 0.5, 0.5]))
    assert_close(f.energy(maps, inside), torch.tensor([0.6, 0.0, 0.5, 0.5]))


def test_order_by_hand():
    """Pairs, one patch inside and one outside: .5 wins both, .1 loses both; ties are halves."""
    inside = torch.tensor([[1.0, 1, 0, 0]] * 2 + [[1, 0, 1, 0], [0, 1, 0, 0]])
    maps = torch.tensor(
        [[0.1, 0.5, 0.2, 0.2], [0, 0, 0, 0], [3, 1, 1, 0], [5.0, 4.0, 3.0, 9.0]]
    )
    assert_close(f.order(maps, inside), torch.tensor([2 / 4, 1 / 2, 3.5 / 4, 1 / 3]))
    # Without the first patch: .5 against two; (0, 0) ties; a 1 against 1 and 0; 4 against 3, 9.
    among = torch.tensor([False, True, True, True])
    assert_close(f.order(maps, inside, among), torch.tensor([1.0, 1 / 2, 1.5 / 2, 1 / 2]))


def test_order_is_the_area_under_the_roc_curve_and_sees_order_alone():
    from sklearn.metrics import roc_auc_score

    torch.manual_seed(0)
    maps = torch.randint(9, (7, 13)).double()  # many ties
    inside = (torch.rand(7, 13) < 0.3).double()
    inside[:, 0], inside[:, 1] = 1, 0
    expected = [roc_auc_score(i, m) for i, m in zip(inside, maps, strict=True)]
    assert_close(f.order(maps, inside), torch.tensor(expected).double())
    assert torch.equal(f.order(maps**2 + 3, inside), f.order(maps, inside))
    assert not torch.allclose(f.energy(maps**2, inside), f.energy(maps, inside))


def test_interval_covers_as_often_as_it_says():
    hits = 0
    for seed in range(200):
        values = (torch.rand(100, generator=torch.Generator().manual_seed(seed)) < 0.3).float()
        mean, low, high = f.interval(values, draws=300, seed=seed)
        assert low <= mean <= high and mean == pytest.approx(values.mean().item())
        hits += low <= 0.3 <= high
    assert 0.88 <= hits / 200 <= 0.99
    assert f.interval(torch.ones(10)) == (1.0, 1.0, 1.0)


def test_what_was_made_from_one_thing_is_drawn_together():
    values = torch.rand(7)
    alone = f.interval(values)
    assert f.interval(values.repeat(5), torch.arange(7).repeat(5)) == pytest.approx(alone)
    assert f.interval(values.repeat(5))[1] > alone[1], "copies would pass for news"
    assert f.interval(values, torch.tensor([3, 5, 11, 2, 7, 17, 13])) != alone  # other order
    # Two unequal groups: both drawn are (0, 0), (0, 1) or (1, 1), of mean 1, 3/4 or 0.
    means = f.interval(torch.tensor([1.0, 1, 1, 0]), torch.tensor([0, 0, 0, 1]), level=0.2)
    assert means == (0.75, 0.75, 0.75)


def test_grouped_intervals_cover_where_the_groups_are_what_is_independent():
    covered = {"by group": 0, "by image": 0}
    for seed in range(100):
        dice = torch.Generator().manual_seed(seed)
        of_group = torch.randn(31, generator=dice)  # 31 digits, 11 canvases of each
        values = (of_group[:, None] + 0.5 * torch.randn(31, 11, generator=dice)).flatten()
        groups = torch.arange(31).repeat_interleave(11)
        for name, given in (("by group", groups), ("by image", None)):
            _, low, high = f.interval(values, given, draws=300, seed=seed)
            covered[name] += low <= 0 <= high
    assert covered["by group"] >= 87 and covered["by image"] <= 70, covered


def test_fills():
    images = torch.rand(2, 3, 32, 32)
    assert_close(f.mean_fill(images)[1, 2, 5, 7], images[1, 2].mean())
    blurred = f.blur(images)
    assert blurred.shape == images.shape and blurred.std() < 0.1 * images.std()
    flat = torch.full((1, 1, 16, 16), 0.3)
    assert_close(f.blur(flat), flat)
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 16] = 1.0
    spread = f.blur(spot, sigma=2.0)[0, 0]
    assert_close(spread, spread.T)
    assert_close(spread.sum(), torch.tensor(1.0))
    assert_close(spread[16, 18] / spread[16, 16], torch.tensor(2.718281828**-0.5))


class Counter(torch.nn.Module):
    """Says class 1 with a logit of ten times the share of white in patch 0 and in patch 3."""

    def forward(self, images):
        white = images[:, 0, :4, :4].mean((1, 2)) + images[:, 0, 4:, 4:].mean((1, 2))
        return torch.stack([torch.zeros(len(images)), 5 * white - 5], dim=1)


def test_deletion_and_insertion_by_hand():
    images = torch.zeros(2, 1, 8, 8)
    images[:, 0, :4, :4] = images[:, 0, 4:, 4:] = 1.0
    good = torch.tensor([[0.9, 0.1, 0.0, 0.8]]).expand(2, 4)
    bad, targets = 1 - good, torch.tensor([1, 1])
    p = torch.sigmoid(torch.tensor([5.0, 2.5, 0.0]))  # two, one and no white patch; mean is .5
    arguments = (Counter(), images, targets)
    deleted = f.curve(*arguments, good, 4, "deletion", steps=4)
    assert_close(deleted[0], torch.stack([p[0], p[1], p[2], p[2], p[2]]))
    inserted = f.curve(*arguments, good, 4, "insertion", steps=4)
    assert_close(inserted[1], torch.stack([p[2], p[1], p[0], p[0], p[0]]))
    assert (f.area(deleted) < f.area(f.curve(*arguments, bad, 4, "deletion", steps=4))).all()
    assert (f.area(inserted) > f.area(f.curve(*arguments, bad, 4, "insertion", steps=4))).all()
    assert_close(f.area(torch.tensor([[1.0, 0.0, 0.0]])), torch.tensor([0.25]))
    for mode, ends in (("deletion", (1, 0)), ("insertion", (0, 1))):
        blurred = f.curve(*arguments, good, 4, mode, "blur", steps=2)
        logits = Counter()(torch.stack([f.blur(images)[0], images[0]]))
        whole = logits.softmax(dim=1)[:, 1]
        assert_close(blurred[0, [0, -1]], whole[list(ends)])
    for mode, fill, steps in (("x", "mean", 4), ("deletion", "x", 4), ("deletion", "mean", 0)):
        with pytest.raises(ValueError, match="steps at least 1; got"):
            f.curve(*arguments, good, 4, mode, fill, steps)
    # Any number of steps: with three, one patch goes, then one, then two. Never less than one.
    uneven = f.curve(*arguments, good, 4, "deletion", steps=3)
    assert_close(uneven[0], torch.stack([p[0], p[1], p[2], p[2]]))
    assert_close(f.curve(*arguments, good, 4, "deletion"), deleted)


def test_a_curve_takes_any_number_of_patches():
    """196 patches, as a published ViT has, and the default steps."""
    images, maps = torch.rand(2, 3, 28, 28), torch.rand(2, 196)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 28 * 28, 5))
    found = f.curve(model, images, torch.tensor([4, 0]), maps, 2, "insertion")
    assert found.shape == (2, 9)
    assert_close(found[:, -1], model(images).softmax(dim=1)[[0, 1], [4, 0]].detach())


def test_equal_patches_go_in_an_order_drawn_by_chance():
    maps = torch.tensor([[0.1, 0.9, 0.5, 0.3], [0.0, 0.0, 0.0, 0.0]])
    assert f.places(maps)[0].tolist() == [3, 0, 1, 2]
    firsts = torch.stack([f.places(maps, seed)[1] for seed in range(400)])
    assert (firsts.sort(dim=1).values == torch.arange(4)).all()
    assert ((firsts == 0).float().mean(dim=0) - 0.25).abs().max() < 0.08
    assert torch.equal(f.places(maps, 5), f.places(maps, 5))


def test_cascading_randomisation_goes_from_the_top():
    torch.manual_seed(5)
    model = VisionTransformer(preset("digits")).eval()
    for p in model.parameters():
        p.data.add_(0.1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    changed = []
    for parts in range(6):
        twin = f.randomised(model, parts)
        state = twin.state_dict()
        changed.append({k.split(".")[0] + k.split(".")[1][:1] * k.startswith("blocks")
                        for k in state if not torch.equal(state[k], before[k])})  # fmt: skip
        assert not twin.training
    state, again = (f.randomised(model, 3, seed=4).state_dict() for _ in range(2))
    assert all(torch.equal(state[k], again[k]) for k in state)
    assert not torch.equal(state["head.weight"], f.randomised(model, 1).head.weight)
    torch.manual_seed(8)
    expected = torch.rand(1)
    torch.manual_seed(8)
    f.randomised(model, 6)
    assert torch.equal(torch.rand(1), expected), "the global dice are left alone"
    top = {"head", "norm"}
    assert changed[:3] == [set(), top, top | {"blocks2"}]
    assert changed[3] == top | {"blocks2", "blocks1"}
    assert changed[4] == top | {"blocks2", "blocks1", "blocks0"} and "embeddings" in changed[5]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_rank_correlation():
    one = torch.tensor([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 1, 1, 1]])
    other = torch.tensor([[10.0, 20, 30, 99], [4, 3, 2, 1], [2, 1, 4, 3], [1, 2, 3, 4]])
    assert_close(f.rank_correlation(one, other), torch.tensor([1.0, -1.0, 0.6, 0.0]).double())


def test_rank_correlation_among_some_patches():
    one = torch.tensor([[1.0, 9, 2, 3, 4], [5, 1, 2, 3, 0], [7, 7, 7, 0, 1]])
    other = torch.tensor([[2.0, 0, 1, 4, 3], [0, 6, 7, 8, 0], [1, 2, 3, 4, 5]])
    among = torch.tensor([[True, False, True, True, True], [False, True, True, True, False],
                          [True, True, True, False, False]])  # fmt: skip
    found = f.rank_correlation(one, other, among)
    assert_close(found, torch.tensor([0.6, 1.0, 0.0]).double())  # the last is flat there
    everything = torch.ones(3, 5, dtype=torch.bool)
    assert torch.equal(
        f.rank_correlation(one, other, everything), f.rank_correlation(one, other)
    )


def test_centre_prior_is_a_hill():
    hill = f.centre_prior((8, 8)).reshape(8, 8)
    assert_close(hill, hill.flip(0))
    assert_close(hill, hill.T)
    assert hill.argmax().item() in (27, 28, 35, 36)
