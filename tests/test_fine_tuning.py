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
