import hashlib
import http.client
import io
import os
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from vitbook import data
from vitbook.data import downloads, pictures


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
    with pytest.raises(ValueError, match=r"nor a folder of pictures, train/<class>/\* or"):
        data.load(tmp_path / "nowhere")
    one = make_folders(tmp_path / "one", {"train": {"a": 2}, "test": {"a": 1}})
    with pytest.raises(
        ValueError, match=r"holds 1 class folders to train on \(a\).*at least two"
    ):
        data.load(one)
    none = make_folders(tmp_path / "none", {"train": {}, "test": {"a": 1, "b": 1}})
    with pytest.raises(
        ValueError, match=r"0 class .*\(pictures in test alone, enough for eval"
    ):
        data.load(none)
    flat = make_folders(tmp_path, {"flat": {}}) / "flat"
    flat.mkdir()
    with pytest.raises(ValueError, match=r"holds 0 class folders to train on \(nothing\)"):
        data.load(flat)
    Image.new("L", (8, 8)).save(flat / "0.png")
    with pytest.raises(
        ValueError, match=r"\(1 in no class folder \(first: 0.png\)\); expected"
    ):
        data.load(flat)
    alone = make_folders(tmp_path / "alone", {"train": {"a": 1, "b": 1}})
    with pytest.raises(ValueError, match="holds out nothing; expected test/<class>"):
        data.load(alone)
    strange = make_folders(
        tmp_path / "strange", {"train": {"a": 1, "b": 1}, "test": {"a": 1, "c": 1}}
    )
    with pytest.raises(ValueError, match=r"holds out \['a', 'c'\]; .* out of \['a', 'b'\]"):
        data.load(strange)
    empty = make_folders(
        tmp_path / "empty", {"train": {"a": 2, "b": 0}, "test": {"a": 1, "b": 1}}
    )
    with pytest.raises(
        ValueError, match=r"no picture of the class 'b' can be read in .*empty;"
    ):
        data.load(empty)
    odd = make_folders(tmp_path / "odd", {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}})
    Image.new("L", (9, 8)).save(odd / "train" / "b" / "0.png")
    with pytest.raises(
        ValueError,
        match=r"differ in size: \(8, 8\) in .* and \(8, 9\) in .*0\.png; give a size",
    ):
        data.load(odd)
    with pytest.raises(ValueError, match="no photograph is called 'dog'; known: chelsea"):
        data.photograph("dog", 32)
    with pytest.raises(ValueError, match="'~nosuchuser/x' is looked for below a home folder"):
        data.load("~nosuchuser/x")


@pytest.mark.parametrize("size", [None, 5])
def test_a_class_of_which_nothing_can_be_read_is_refused(size, tmp_path):
    folder = make_folders(tmp_path, {"train": {"a": 2, "b": 1}, "test": {"a": 1, "b": 1}})
    (folder / "train" / "b" / "0.png").write_bytes(b"no picture")
    message = (
        r"class 'b' can be read in .*, only 1 no picture by its content \(first: train/b/0"
    )
    with pytest.raises(ValueError, match=message):
        data.load(folder, size)
    assert len(data.load(folder, size, need_train=False).test.labels) == 2
    for kind in "ab":
        (folder / "test" / kind / "0.png").write_bytes(b"")
    with pytest.raises(
        ValueError, match="holds out nothing that can be read|no picture of the"
    ):
        data.load(folder, size, need_train=False)


def test_zip_files_are_read_where_they_lie(tmp_path):
    folders = make_folders(
        tmp_path / "f", {"train": {"a": 3, "b": 2}, "test": {"a": 1, "b": 1}}
    )
    zipped = tmp_path / "z"
    zipped.mkdir()
    for split in ("train", "test"):
        with zipfile.ZipFile(zipped / f"{split}.zip", "w") as archive:
            for path in (folders / split).rglob("*.png"):
                archive.write(path, f"top/{path.relative_to(folders)}")
    one, two = data.load(folders), data.load(zipped)
    assert one.classes == two.classes
    for a, b in zip(one.train + one.test, two.train + two.test, strict=True):
        assert torch.equal(a, b)
    whole = (zipped / "train.zip").read_bytes()
    (zipped / "train.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"train\.zip is not a whole zip file"):
        data.load(zipped)
    member = bytearray(whole)
    member[whole.index(b"IDAT") + 6] ^= 0xFF
    (zipped / "train.zip").write_bytes(member)
    with pytest.raises(ValueError, match=r"train\.zip cannot be read at top/train"):
        data.load(zipped)
    member = bytearray(whole)
    member[whole.rindex(b"PK\x01\x02") + 8] |= 1  # encrypted, says the list at the end
    (zipped / "train.zip").write_bytes(member)
    with pytest.raises(ValueError, match=r"train\.zip cannot be read at .*encrypted"):
        data.load(zipped)


def test_what_systems_leave_behind_is_no_class(tmp_path):
    folders = make_folders(
        tmp_path / "f", {"train": {"a": 3, "b": 2}, "test": {"a": 1, "b": 1}}
    )
    plain = data.load(folders)
    (folders / "train" / ".ipynb_checkpoints").mkdir()
    (folders / "train" / "a" / ".ipynb_checkpoints").mkdir()
    (folders / "train" / ".ipynb_checkpoints" / "0.png").write_bytes(b"left behind")
    (folders / "train" / "a" / "._0.png").write_bytes(b"left behind")
    zipped = tmp_path / "z"
    zipped.mkdir()
    with zipfile.ZipFile(zipped / "all.zip", "w") as archive:
        for path in folders.rglob("*.png"):
            archive.write(path, path.relative_to(folders))
        archive.writestr("__MACOSX/train/a/._0.png", b"left behind")
    (zipped / "._all.zip").write_bytes(b"left behind")
    for folder in (folders, zipped):
        found = data.load(folder)
        assert found.classes == ["a", "b"]
        assert torch.equal(found.train.images, plain.train.images)


def test_a_class_of_other_files_is_refused(tmp_path):
    folders = make_folders(
        tmp_path / "f", {"train": {"a": 1, "b": 1, "c": 0}, "test": {"a": 1, "b": 1}}
    )
    for name, kind in ((".DS_Store", "1 hidden"), ("0.xyz", "1 hidden .*, 1 .xyz files")):
        (folders / "train" / "c" / name).write_bytes(b"no picture")
        with pytest.raises(ValueError, match=f"the class 'c' can be read in .*, only {kind}"):
            data.load(folders)


def tiny_imagenet(root):
    """Four pictures in the layout of tiny-imagenet-200.zip."""
    for wnid, grey in (("n01", 10), ("n02", 200)):
        (root / "train" / wnid / "images").mkdir(parents=True)
        for i in range(2):
            path = root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG"
            Image.new("RGB", (64, 64), (grey, grey, grey)).save(path)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("x\t0\t0\t9\t9\n")
    for split in ("val", "test"):
        (root / split / "images").mkdir(parents=True)
        for i, grey in enumerate((200, 10)):
            path = root / split / "images" / f"{split}_{i}.JPEG"
            Image.new("RGB", (64, 64), (grey, grey, grey)).save(path)
    rows = ("val_0.JPEG\tn02\t0\t0\t62\t62", "val_1.JPEG\tn01\t0\t0\t62\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    (root / "words.txt").write_text("n01\tgoldfish, Carassius auratus\nn02\tcat\nn03\tx\n")
    (root / "wnids.txt").write_text("n02\nn01\n")
    return root


def test_the_first_images_of_class_folders_are_of_all_classes():
    labels = torch.arange(10).repeat_interleave(50)
    images = labels.to(torch.uint8)[:, None, None, None].expand(500, 1, 2, 2)
    whole = data.Dataset("x", list("0123456789"), data.Split(images, labels), None)
    part = data.first(whole, 100).train
    assert len(part.labels) == len(part.images) == 100 and len(part.labels.unique()) == 10
    assert torch.equal(part.images[:, 0, 0, 0].long(), part.labels)
    assert torch.equal(part.labels, data.first(whole, 100).train.labels)
    digits = data.load("digits")
    assert torch.equal(data.first(digits, 7).train.labels, digits.train.labels[:7])


def test_tiny_imagenet_as_it_ships(tmp_path, monkeypatch):
    folder = tiny_imagenet(tmp_path / "tiny-imagenet")
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    loaded = data.load("tiny-imagenet")
    assert loaded.classes == ["goldfish", "cat"]
    assert loaded.train.images.shape == (4, 3, 64, 64)
    assert loaded.train.labels.tolist() == [0, 0, 1, 1]
    assert loaded.test.labels.tolist() == [0, 1]
    assert (loaded.test.images[0] < 50).all() and (loaded.test.images[1] > 150).all()
    packed = tmp_path / "other" / "tiny-imagenet"
    packed.mkdir(parents=True)
    with zipfile.ZipFile(packed / "tiny-imagenet-200.zip", "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, f"tiny-imagenet-200/{path.relative_to(folder)}")
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path / "other"))
    again = data.load("tiny-imagenet", size=32)
    assert again.classes == loaded.classes and again.test.labels.tolist() == [0, 1]
    assert again.train.images.shape == (4, 3, 32, 32)


def test_pictures_of_every_kind_are_read():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    colour = np.stack([grey, 255 - grey, grey // 2], axis=-1)
    alpha = np.dstack([colour, np.zeros((8, 8), np.uint8)])
    cases = {
        "L": (Image.fromarray(grey), torch.from_numpy(grey)[None]),
        "RGB": (Image.fromarray(colour), torch.from_numpy(colour).permute(2, 0, 1)),
        "I;16": (Image.fromarray(grey.astype(np.uint16) * 257), torch.from_numpy(grey)[None]),
        "RGBA, all transparent": (Image.fromarray(alpha), torch.full((3, 8, 8), 255)),
        "palette": (
            Image.fromarray(colour).quantize(64),
            torch.from_numpy(np.array(Image.fromarray(colour).quantize(64).convert("RGB"))).permute(
                2, 0, 1
            ),
        ),
        "LA": (Image.merge("LA", [Image.fromarray(grey), Image.new("L", (8, 8), 255)]),
               torch.from_numpy(grey).expand(3, 8, 8)),
        "L, 8 is transparent": (Image.fromarray(grey), torch.from_numpy(
            np.where(grey == 8, 255, grey))[None]),
        "RGB, turned by its camera": (Image.fromarray(colour[::-1].transpose(1, 0, 2)),
                                      torch.from_numpy(colour).permute(2, 0, 1)),
    }  # fmt: skip
    for name, (image, expected) in cases.items():
        content, exif = io.BytesIO(), Image.Exif()
        exif[0x0112] = 8 if "turned" in name else 1  # its row 0 is the left side
        image.save(content, "PNG", exif=exif, **({"transparency": 8} if "8 is" in name else {}))
        found = pictures.decode(content.getvalue(), name)
        assert found.dtype == torch.uint8 and torch.equal(found, expected.to(torch.uint8)), name


def test_the_rule_for_odd_sizes(tmp_path):
    """The central square, resized; grey becomes colour where there is colour."""
    picture = torch.zeros(3, 10, 20, dtype=torch.uint8)
    picture[:, :, 5:15] = 200
    assert (pictures.square(picture, 5) == 200).all()
    assert pictures.square(picture, 16).shape == (3, 16, 16)
    same = torch.randint(256, (3, 8, 8)).to(torch.uint8)
    assert pictures.square(same, 8) is same
    for split in ("train", "test"):
        for kind, mode, size in (("a", "RGB", (40, 30)), ("b", "L", (9, 17))):
            (tmp_path / split / kind).mkdir(parents=True)
            Image.new(mode, size, "white").save(tmp_path / split / kind / "1.png")
    loaded = data.load(tmp_path, size=16)
    assert loaded.train.images.shape == (2, 3, 16, 16) and (loaded.train.images == 255).all()
    assert pictures.channels(torch.full((3, 2, 2), 9).to(torch.uint8), 1).tolist() == [
        [[9, 9], [9, 9]]
    ]


def test_fetch_takes_the_first_whole_copy_and_leaves_nothing_else(tmp_path, capsys):
    content = bytes(range(256)) * 1000
    md5 = hashlib.md5(content).hexdigest()
    for name, served in (
        ("cut", content[:5000]),
        ("altered", content[::-1]),
        ("good", content),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "set.zip").write_bytes(served)
    bad = [(tmp_path / name / "set.zip").as_uri() for name in ("missing", "cut", "altered")]
    good = (tmp_path / "good" / "set.zip").as_uri()
    target = tmp_path / "root" / "set.zip"
    with pytest.raises(ConnectionError, match="set.zip could not be downloaded") as error:
        downloads.fetch(target, md5, bad)
    assert str(error.value).count("altered or cut short") == 2
    assert "VITBOOK_MIRROR" in str(error.value) and not list(target.parent.iterdir())
    downloads.fetch(target, md5, [*bad, good])
    assert target.read_bytes() == content and list(target.parent.iterdir()) == [target]
    downloads.fetch(target, md5, [])  # it is there
    target.write_bytes(content[:-1])
    downloads.fetch(target, md5, [good])  # a wrong file is replaced
    assert target.read_bytes() == content


@pytest.mark.parametrize(
    "failure",
    [http.client.IncompleteRead(b"half"), ValueError("unknown url type"), OSError("no route"),
     http.client.InvalidURL("control characters")],
)  # fmt: skip
def test_whatever_is_wrong_with_an_address_the_next_is_tried(tmp_path, monkeypatch, failure):
    def copy(address, path):
        assert path.name.endswith(f".{os.getpid()}.part"), "no other process writes it"
        if address == "bad":
            raise failure
        path.write_bytes(b"content")

    monkeypatch.setattr(downloads, "copy", copy)
    target, md5 = tmp_path / "set.zip", hashlib.md5(b"content").hexdigest()
    downloads.fetch(target, md5, ["bad", "good"])
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


def test_a_download_that_breaks_off_leaves_nothing(tmp_path, monkeypatch):
    def broken(address, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads, "copy", broken)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch(tmp_path / "set.zip", "0", ["http://nowhere"])
    assert not list(tmp_path.iterdir())


def test_torchvisions_sets_have_a_second_address(monkeypatch):
    from vitbook.compat import load_torchvision

    monkeypatch.delenv("VITBOOK_MIRROR", raising=False)
    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100"):
        source = getattr(load_torchvision("datasets"), data.TORCHVISION[name])
        for path, md5, base in downloads.wanted(source, tmp := downloads.data_root() / name):
            assert tmp in path.parents and len(md5) == 32
            found = downloads.addresses(name, path.name, base)
            assert len(found) >= 2 and all(a.endswith("/" + path.name) for a in found)
    monkeypatch.setenv("VITBOOK_MIRROR", "https://mirror.example/data")
    first, *_ = downloads.addresses("cifar100", "c.tar.gz", ["https://home/"])
    assert first == "https://mirror.example/data/c.tar.gz"


def test_mnist_is_fetched_from_a_mirror(tmp_path, monkeypatch):
    """MNIST in its authors' format, two pictures of it, from a folder on this disk."""
    import gzip

    from vitbook.compat import load_torchvision

    mnist = load_torchvision("datasets").MNIST
    served, resources = tmp_path / "served", []
    served.mkdir()
    for name, _ in mnist.resources:
        pixels = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 28, 0, 0, 0, 28]) + bytes(2 * 784)
        labels = bytes([0, 0, 8, 1, 0, 0, 0, 2, 3, 7])
        content = gzip.compress(pixels if "idx3" in name else labels)
        (served / name).write_bytes(content)
        resources.append((name, hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(mnist, "resources", resources)
    monkeypatch.setattr(mnist, "mirrors", ["http://nowhere.invalid/"])
    monkeypatch.setenv("VITBOOK_MIRROR", served.as_uri())
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path / "root"))
    loaded = data.load("mnist")
    assert loaded.train.images.shape == (2, 1, 28, 28) and loaded.test.labels.tolist() == [3, 7]
    for size in (900, 10, 0):  # unpacking was interrupted
        (raw,) = (tmp_path / "root").rglob("train-images-idx3-ubyte")
        raw.write_bytes(raw.read_bytes()[:size])
        assert torch.equal(data.load("mnist").train.images, loaded.train.images)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("VITBOOK_DATA", str(tmp_path))
    monkeypatch.setattr(
        "urllib.request.urlopen", lambda *a, **k: (_ for _ in ()).throw(OSError("no route"))
    )
    for name in ("mnist", "cifar100", "tiny-imagenet"):
        with pytest.raises(ConnectionError, match=r"no route.*Set VITBOOK_MIRROR .* or put it"):
            data.load(name)


def test_ones_own_picture_is_cut_shrunk_and_coloured(tmp_path):

    Image.new("L", (60, 40), 77).save(tmp_path / "grey.png")
    found = data.picture(tmp_path / "grey.png", 32)
    assert found.shape == (3, 32, 32) and (found == 77).all()
    assert data.picture(tmp_path / "grey.png", 8, count=1).shape == (1, 8, 8)
    (tmp_path / "no.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="no.png as an image"):
        data.picture(tmp_path / "no.png", 32)
    with pytest.raises(FileNotFoundError):
        data.picture(tmp_path / "absent.png", 32)


def names(split):
    """What the pictures of :func:`make_folders` are told apart by: their grey."""
    return split.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("train", ["train", "training", "Train"])
@pytest.mark.parametrize("held", ["test", "val", "valid", "validation", "Validation"])
def test_splits_have_many_names(train, held, tmp_path):
    folder = make_folders(tmp_path, {train: {"a": 3, "b": 2}, held: {"a": 1, "b": 5}})
    loaded = data.load(folder)
    assert loaded.classes == ["a", "b"] and loaded.notes == ()
    assert loaded.held_out_is == "the test set"
    assert (len(loaded.train.labels), len(loaded.test.labels)) == (5, 6)


def test_of_two_held_out_folders_one_counts_and_the_other_is_named(tmp_path, caplog):
    splits = {"train": {"a": 3, "b": 2}, "val": {"a": 1, "b": 5}, "test": {"a": 2, "b": 1}}
    folder = make_folders(tmp_path, splits)
    make_folders(tmp_path, {"extra": {"a": 7}})
    loaded = data.load(folder)
    assert len(loaded.test.labels) == 3
    said = "1 beside train and test (first: extra), "
    said += "6 in val, as there is test (first: val/a/0.png)"
    assert loaded.notes == (f"left out {said}",)
    assert caplog.messages == [f"{folder}: left out {said}"]


@pytest.mark.parametrize("top", ["", "train"])
def test_class_folders_alone_are_split_by_class(top, tmp_path, caplog):
    counts = {"a": 40, "b": 13, "c": 2, "d": 1}
    folder = tmp_path / "photos"
    make_folders(tmp_path if not top else folder, {top or "photos": counts})
    loaded = data.load(folder)
    held = loaded.test.labels.bincount(minlength=4).tolist()
    assert held == [8, 3, 1, 0]  # a fifth, and one at least where one is left to train on
    assert loaded.train.labels.bincount().tolist() == [32, 10, 1, 1]
    first = [names(split) for split in (loaded.train, loaded.test)]
    assert sorted(first[0][:32] + first[1][:8]) == list(range(40))
    assert first[1][:8] != list(range(8)), "by lot, not the first ones"
    assert caplog.messages == [f"{folder}: {note}" for note in loaded.notes]
    share, missing = loaded.notes
    assert share.startswith("12 of 56 pictures are held out to test on, 20% of each class")
    assert missing == "nothing to test on of d"
    assert loaded.held_out_is == "held out of the training set"
    again = data.load(folder)
    assert [names(split) for split in (again.train, again.test)] == first
    for i in range(40, 44):  # four more: those that were held out stay so
        Image.new("L", (8, 8), color=i).save(folder / top / "a" / f"{i}.png")
    more = names(data.load(folder).test)[:9]
    assert len(set(more) & set(first[1][:8])) >= 7


def test_class_folders_in_a_zip_file_are_split_alike(tmp_path):
    make_folders(tmp_path, {"photos": {"a": 10, "b": 5}})
    (tmp_path / "zipped").mkdir()
    for above in ("", "photos/", "my/photos/"):
        with zipfile.ZipFile(tmp_path / "zipped" / "photos.zip", "w") as archive:
            for path in (tmp_path / "photos").rglob("*"):
                archive.write(path, above + str(path.relative_to(tmp_path / "photos")))
            archive.writestr(f"{above}read me.txt", "mine")
        plain, packed = data.load(tmp_path / "photos"), data.load(tmp_path / "zipped")
        assert packed.classes == ["a", "b"] and "1 .txt files" in packed.notes[-1]
        for one, other in zip(
            plain.train + plain.test, packed.train + packed.test, strict=True
        ):
            assert torch.equal(one, other), above


@pytest.mark.parametrize("size", [None, 5])
def test_test_pictures_alone_are_enough_to_evaluate(size, tmp_path):
    folder = make_folders(tmp_path, {"valid": {"b": 3, "c": 2}})
    loaded = data.load(folder, size, need_train=False)
    assert loaded.classes == ["b", "c"] and loaded.test.labels.tolist() == [0, 0, 0, 1, 1]
    assert loaded.train.images.shape == (0, *loaded.test.images.shape[1:])
    make_folders(tmp_path, {"train": {"a": 1, "b": 1, "c": 1}})
    assert data.load(folder, size, need_train=False).test.labels.tolist() == [1, 1, 1, 2, 2]


def test_links_are_followed_but_not_round(tmp_path):
    make_folders(tmp_path / "elsewhere", {"cats": {"": 5}})
    folder = make_folders(tmp_path / "f", {"train": {"a": 3, "b": 2}, "test": {"a": 1, "b": 1}})
    (folder / "train" / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    (folder / "test" / "cats").symlink_to(tmp_path / "elsewhere" / "cats")
    (folder / "train" / "a" / "self").symlink_to("self")
    (folder / "train" / "a" / "up").symlink_to(folder)
    loaded = data.load(folder)
    assert loaded.classes == ["a", "b", "cats"]
    assert loaded.train.labels.bincount().tolist() == [3, 2, 5]
    said = "1 broken links (first: train/a/self), "
    said += "1 links to a folder they lie in (first: train/a/up)"
    assert loaded.notes == (f"left out {said}",)


def test_pictures_for_a_model_that_is_no_square(tmp_path):
    """The central part of the model's shape, from a folder as from a file."""
    folder = make_folders(tmp_path, {"train": {"a": 2, "b": 1}, "test": {"a": 1, "b": 1}})
    stripes = 10 * torch.arange(24).repeat(40, 1).to(torch.uint8)
    Image.fromarray(stripes.numpy()).save(folder / "train" / "a" / "0.png")
    loaded = data.load(folder, (20, 6))
    assert loaded.train.images.shape == (3, 1, 20, 6)
    image = data.picture(folder / "train" / "a" / "0.png", (20, 6), 1)
    assert torch.equal(loaded.train.images[0], image)
    halves = torch.tensor([65, 85, 105, 125, 145, 165])  # columns 6 to 17, two by two
    assert (image[0, 0].int() - halves).abs().max() <= 4
    tall = pictures.square(torch.zeros(3, 7, 700, dtype=torch.uint8), (5, 3))
    assert tall.shape == (3, 5, 3)


def kept(monkeypatch, tmp_path):
    """A cache of its own for a test, and how to count what is decoded."""
    from vitbook.data import cache

    monkeypatch.setenv("VITBOOK_CACHE", str(tmp_path / "kept"))
    seen, decode = [], cache.decode
    monkeypatch.setattr(
        cache, "decode", lambda content, where: seen.append(where) or decode(content, where)
    )
    return seen


def test_a_picture_is_decoded_once(tmp_path, monkeypatch):
    seen = kept(monkeypatch, tmp_path)
    folder = make_folders(tmp_path / "f", {"train": {"a": 3, "b": 2}, "test": {"a": 1, "b": 1}})
    (folder / "train" / "b" / "x.png").write_bytes(b"no picture")
    first = data.load(folder, 5)
    assert len(seen) == 8
    again = data.load(folder, 5)
    assert len(seen) == 8 and again.notes == first.notes
    for one, other in zip(first.train + first.test, again.train + again.test, strict=True):
        assert torch.equal(one, other)
    seen.clear()
    Image.new("L", (8, 8), color=99).save(folder / "train" / "a" / "1.png")  # same name
    Image.new("L", (8, 8), color=77).save(folder / "train" / "a" / "0new.png")
    (folder / "train" / "a" / "2.png").unlink()
    changed = data.load(folder, 5)
    assert sorted(Path(where).name for where in seen) == ["0new.png", "1.png"]
    assert names(changed.train) == [0, 77, 99, 0, 1]
    seen.clear()
    data.load(folder, 7)  # another size is another list
    assert len(seen) == 8
    inside = {path.name for path in folder.rglob("*")}
    assert not any("pictures" in name for name in inside), "nothing among one's pictures"


@pytest.mark.parametrize(
    "fault", ["cut", "one byte", "grown", "empty", "text", "folder", "old"]
)
def test_a_wrong_file_of_the_cache_is_written_anew(fault, tmp_path, monkeypatch):
    seen = kept(monkeypatch, tmp_path)
    folder = make_folders(tmp_path / "f", {"train": {"a": 3, "b": 2}, "test": {"a": 1, "b": 1}})
    right = data.load(folder, 5)
    for path in (tmp_path / "kept").iterdir():
        whole = path.read_bytes()
        path.unlink()
        if fault == "folder":
            path.mkdir()
            continue
        path.write_bytes({
            "cut": whole[:-20], "one byte": bytes([whole[0] ^ 1]) + whole[1:],
            "grown": b"\0" + whole, "empty": b"", "text": b"not a cache at all",
            "old": whole.replace(b'"version": ["1"', b'"version": ["0"'),
        }[fault])  # fmt: skip
    seen.clear()
    for _ in range(2):
        loaded = data.load(folder, 5)
        for one, other in zip(
            right.train + right.test, loaded.train + loaded.test, strict=True
        ):
            assert torch.equal(one, other)
    assert fault == "folder" or len(seen) == 7
    assert not list((tmp_path / "kept").glob("*.part"))


def test_mapped_pictures_train_as_those_in_memory_do(tmp_path, monkeypatch, caplog):
    from vitbook import VisionTransformer, preset
    from vitbook.training import TrainConfig
    from vitbook.training import train as fit

    kept(monkeypatch, tmp_path)
    folder = make_folders(
        tmp_path / "f", {"train": {"a": 13, "b": 11}, "test": {"a": 3, "b": 5}}
    )
    Image.new("RGB", (9, 8), "red").save(folder / "train" / "a" / "red.png")
    mapped = data.load(folder, 8)
    maps = Path("/proc/self/maps")  # of the process, on Linux
    assert not maps.exists() or str(tmp_path / "kept") in maps.read_text()
    (tmp_path / "file").write_text("a file, where a folder should be")
    monkeypatch.setenv("VITBOOK_CACHE", str(tmp_path / "file"))
    memory = data.load(folder, 8)
    assert "cannot be kept" in caplog.text and "Set VITBOOK_CACHE to" in caplog.text
    weights = []
    for loaded in (mapped, memory):
        torch.manual_seed(0)
        model = VisionTransformer(preset("digits", channels=3, classes=2))
        fit(model, loaded, TrainConfig(epochs=2, batch_size=7), progress=False)
        weights.append(torch.cat([p.flatten() for p in model.parameters()]))
    assert torch.equal(*weights)
    mapped.train.images.fill_(7)  # whoever changes their pictures leaves the cache alone
    monkeypatch.setenv("VITBOOK_CACHE", str(tmp_path / "kept"))
    assert torch.equal(data.load(folder, 8).train.images, memory.train.images)


def test_photographs_of_iphones_are_read_where_the_plugin_is(tmp_path, monkeypatch):
    """pillow-heif is asked to register itself; without it the kind is named."""
    import sys
    import types

    folder = make_folders(tmp_path, {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 1}})
    (folder / "train" / "a" / "IMG_1.HEIC").write_bytes(b"ftypheic")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    pictures.suffixes.cache_clear()
    assert data.load(folder).notes == ("left out 1 .heic files (first: train/a/IMG_1.HEIC)",)
    called = []
    plugin = types.SimpleNamespace(register_heif_opener=lambda: called.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    pictures.suffixes.cache_clear()
    assert {".png", ".jpg", ".webp", ".tif", ".gif", ".bmp"} <= set(pictures.suffixes())
    assert called == [True]


def test_of_several_processes_one_unpacks(tmp_path, monkeypatch):
    """The lock is of the open folder, so threads stand for processes here."""
    done, busy, unpacked = tmp_path / "done", tmp_path / "busy", []

    class Source:
        url, filename, tgz_md5 = "https://home/c.tar.gz", "c.tar.gz", "0"
        data, targets, classes = torch.zeros(2, 5, 7, dtype=torch.uint8), [0, 1], ["a", "b"]

        def __init__(self, folder, train, download=False):
            if not download and not done.exists():
                raise RuntimeError("not found")
            if download and not done.exists():
                busy.touch(exist_ok=False)  # fails where another one is at it
                time.sleep(0.2)
                unpacked.append(train)
                busy.unlink()
                done.touch()

    fetched = []
    monkeypatch.setattr(downloads, "fetch", lambda path, *_: fetched.append(path.name))
    monkeypatch.setitem(downloads.TORCHVISION, "cifar10", "Source")
    monkeypatch.setattr(
        "vitbook.compat.load_torchvision", lambda part: SimpleNamespace(Source=Source)
    )
    with ThreadPoolExecutor(5) as pool:
        each = [pool.submit(downloads.from_torchvision, "cifar10", tmp_path) for _ in range(5)]
        assert [one.result().classes for one in each] == [["a", "b"]] * 5
    assert unpacked == [True] and fetched == ["c.tar.gz"]
