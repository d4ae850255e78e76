"""The record of starting from weights: what is compared is alike, and nothing is missing."""

import fine_tuning
import pytest
import torch

from vitbook.data import Dataset, Split


def pictures(count, classes=10):
    """A data set whose pictures say their label and place: (label, place) in two pixels."""
    labels = torch.arange(count) % classes
    images = torch.zeros(count, 3, 2, 2, dtype=torch.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = (
        labels.byte(),
        (torch.arange(count) // classes).byte(),
    )
    split = Split(images, labels)
    return Dataset("made up", [f"kind {k}" for k in range(classes)], split, split)


def test_halves_share_no_class_and_change_with_the_draw():
    halves = [fine_tuning.halves(range(10), draw) for draw in fine_tuning.DRAWS]
    for first, other in halves:
        assert len(first) == len(other) == 5 and set(first) | set(other) == set(range(10))
    assert len({tuple(first) for first, _ in halves}) > 3


def test_few_pictures_are_a_part_of_more_and_their_labels_are_new():
    data = pictures(170)
    part = fine_tuning.part(data, [7, 3], 11, draw=2)
    assert part.classes == ["kind 7", "kind 3"]
    assert part.train.labels.tolist() == [0] * 11 + [1] * 11
    assert part.train.images[:, 0, 0, 0].tolist() == [7] * 11 + [3] * 11
    less = fine_tuning.few(data.train, [7, 3], 5, draw=2).images[:, 0, 0, 1].reshape(2, 5)
    more = part.train.images[:, 0, 0, 1].reshape(2, 11)
    assert torch.equal(less, more[:, :5])
    other = fine_tuning.few(data.train, [7, 3], 5, draw=3).images[:, 0, 0, 1].reshape(2, 5)
    assert not torch.equal(less, other)


@pytest.mark.parametrize("count", fine_tuning.PICTURES)
def test_every_way_takes_the_same_steps(count):
    taken = set()
    for way in fine_tuning.WAYS:
        train = fine_tuning.settings(3, way, count).train
        taken.add(train.epochs * -(-5 * count // train.batch_size))
        assert train.evaluate_every == train.epochs  # the test pictures choose nothing
    assert taken == {fine_tuning.STEPS}


def test_the_record_is_whole():
    rows = [(run["row"], run["draw"]) for run in fine_tuning.recorded()]
    assert len(rows) == len(set(rows)) == 5 * (1 + len(fine_tuning.WAYS) * 3)
    assert not any(fine_tuning.missing(draw) for draw in fine_tuning.DRAWS)
    for draw in fine_tuning.DRAWS:
        runs = [run for run in fine_tuning.recorded() if run["draw"] == draw]
        here = {run["row"]: run["classes"] for run in runs}
        first = here.pop(fine_tuning.FIRST)
        assert all(len(other) == 5 and not set(first) & set(other) for other in here.values())


def test_what_the_page_says_of_the_draws():
    """In all five, in four of five, in none."""
    full, slow, frozen = list(fine_tuning.WAYS)[1:]
    wins = lambda way, count: sum(a > 0 for a in fine_tuning.ahead(way, count))  # noqa: E731
    assert (
        wins(full, 100) == wins(full, 500) == 5 and wins(frozen, 100) == wins(frozen, 500) == 0
    )
    for count, expected in ((20, 4), (100, 1), (500, 1)):
        pairs = zip(*(fine_tuning.ahead(way, count) for way in (slow, full)), strict=True)
        assert sum(a > b for a, b in pairs) == expected
