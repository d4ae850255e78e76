import numpy as np
import pytest
import torch
from PIL import Image

from vitbook import data


def make_folders(root, counts, size=(8, 8), mode="L"):
    for split, classes in counts.items():
        for kind, count in classes.items():
            folder = root / split / kind
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new(mode, size, color=i).save(folder / f"{i}.png")
    return root


def test_digits():
    digits = data.load("digits")
    assert (
        digits.train.images.shape == (1437, 1, 8, 8)
        and digits.train.images.dtype == torch.uint8
    )
    assert digits.test.images.shape == (360, 1, 8, 8)
    assert digits.train.images.max() == 255
    seen = {image.numpy().tobytes() for image in digits.train.images}
    assert sum(image.numpy().tobytes() in seen for image in digits.test.images) == 0


def test_normalize():
    pixels = torch.tensor([0, 255], dtype=torch.uint8)
    assert data.normalize(pixels).tolist() == [-1.0, 1.0]


def test_random_crop_shifts_each_image_by_itself():
    images = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    images[:, :, 4, 4] = 255
    moved = data.random_crop(images, 1)
    assert moved.shape == images.shape and moved.dtype == torch.uint8
    places = moved.flatten(1).argmax(dim=1)
    assert set(places.tolist()) == {8 * r + c for r in (3, 4, 5) for c in (3, 4, 5)}
    assert torch.equal(data.random_crop(images, 0), images)


def test_random_flip_mirrors_half():
    images = torch.arange(4, dtype=torch.uint8).expand(1000, 1, 2, 4)
    flipped = data.random_flip(images)
    mirrored = (flipped[:, 0, 0, 0] == 3).float().mean()
    assert 0.4 < mirrored < 0.6
    assert torch.equal(flipped.sort(dim=-1).values, images)


def test_canvas_holds_a_whole_digit_in_its_box():
    digits = data.load("digits").test
    images, labels, boxes = data.digits_canvas(digits, 50, seed=5)
    assert images.shape == (50, 1, 32, 32) and images.dtype == torch.uint8
    assert (boxes % 4 == 0).all() and (boxes[:, 2:] - boxes[:, :2] == 16).all()
    for image, label, (top, left, bottom, right) in zip(images, labels, boxes, strict=True):
        small = image[0, top:bottom:2, left:right:2]
        match = (digits.images[:, 0] == small).all(dim=(1, 2))
        assert match.any() and (digits.labels[match] == label).all()
    again = data.digits_canvas(digits, 50, seed=5)
    assert torch.equal(images, again[0]) and torch.equal(boxes, again[2])


@pytest.mark.parametrize("name", data.PHOTOGRAPHS)
def test_photographs_come_with_the_packages(name):
    image = data.photograph(name, 32)
    assert image.shape == (3, 32, 32) and image.dtype == torch.uint8
    assert image.float().std() > 10


def test_class_folders(tmp_path):
    make_folders(tmp_path, {"train": {"a": 3, "b": 2}, "val": {"a": 1, "b": 1}}, mode="RGB")
    loaded = data.load(str(tmp_path))
    assert loaded.classes == ["a", "b"]
    assert loaded.train.images.shape == (5, 3, 8, 8)
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert loaded.test.images.shape == (2, 3, 8, 8)


def test_a_known_name_is_found_under_vitbook_data(tmp_path, monkeypatch):
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    make_folders(tmp_path / "mnist", {"train": {"0": 1, "1": 1}, "test": {"0": 1, "1": 1}})
    assert data.load("mnist").train.images.shape == (2, 1, 8, 8)


def test_torchvisions_own_files(tmp_path, monkeypatch):
    """CIFAR-10 as torchvision stores it, without the pictures' checksums."""
    import pickle

    from vitbook.compat import load_torchvision

    cifar = load_torchvision("datasets").CIFAR10
    folder = tmp_path / "cifar10" / cifar.base_folder
    folder.mkdir(parents=True)
    for name, _ in [*cifar.train_list, *cifar.test_list]:
        batch = {"data": np.zeros((2, 3072), dtype=np.uint8), "labels": [0, 1]}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = {"label_names": [str(i) for i in range(10)]}
    (folder / cifar.meta["filename"]).write_bytes(pickle.dumps(names))
    monkeypatch.setattr(cifar, "_check_integrity", lambda self: True)
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *a: True)
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    loaded = data.load("cifar10")
    assert loaded.train.images.shape == (10, 3, 32, 32) and loaded.test.labels.tolist() == [
        0,
        1,
    ]


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match="'cifar' is neither a known data set .*cifar10"):
        data.load("cifar")
    one = make_folders(tmp_path / "one", {"train": {"a": 2}, "test": {"a": 1}})
    with pytest.raises(ValueError, match="holds 1 class folders.*at least two"):
        data.load(one)
    empty = make_folders(
        tmp_path / "empty", {"train": {"a": 2, "b": 0}, "test": {"a": 1, "b": 1}}
    )
    with pytest.raises(ValueError, match=r"no images \(.png, .jpg, .jpeg\) in .*b"):
        data.load(empty)
    broken = make_folders(
        tmp_path / "broken", {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}}
    )
    (broken / "train" / "a" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"cannot read .*0\.png as an image"):
        data.load(broken)
    odd = make_folders(tmp_path / "odd", {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}})
    Image.new("L", (9, 8)).save(odd / "train" / "b" / "0.png")
    with pytest.raises(ValueError, match=r"differ in shape: \(1, 8, 8\) and \(1, 8, 9\)"):
        data.load(odd)
    with pytest.raises(ValueError, match="no photograph is called 'dog'; known: chelsea"):
        data.photograph("dog", 32)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    from vitbook.compat import load_torchvision

    def no_network(*arguments, **options):
        raise RuntimeError("no route to host")

    monkeypatch.setattr(load_torchvision("datasets"), "MNIST", no_network)
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    with pytest.raises(RuntimeError, match=r"mnist is not .*no route.*train/<class>/\*\.png"):
        data.load("mnist")
