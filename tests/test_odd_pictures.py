"""Pictures as people have them, from a folder to an answer: right, or named."""

import json
import re

import numpy as np
import odd_pictures
import pytest
import torch

from vitbook import data
from vitbook.__main__ import main
from vitbook.data import pictures

ODD = odd_pictures.odd_pictures()
SEEN = {name: (seen, by) for name, (_, seen, by) in ODD.items() if not isinstance(seen, str)}
LEFT_OUT = {name: seen for name, (_, seen, _) in ODD.items() if isinstance(seen, str)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return odd_pictures.make(tmp_path_factory.mktemp("odd") / "my photos")


def in_colour(pixels):
    """What should be seen, (3, height, width)."""
    pixels = torch.from_numpy(np.ascontiguousarray(pixels))
    image = pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)
    return pictures.channels(image, 3).int()


def test_there_are_thirty_kinds_and_more():
    assert len(SEEN) >= 30 and len(set(LEFT_OUT.values())) >= 10


@pytest.mark.parametrize("name", SEEN)
def test_what_is_seen_is_what_the_picture_shows(name, folder):
    """One by one, as predict reads them."""
    seen, by = SEEN[name]
    found = data.picture(folder / "train" / "odd" / name, odd_pictures.SHAPE).int()
    assert (found - in_colour(seen)).abs().max() <= by


def test_every_picture_is_in_the_data_or_named(folder, caplog):
    loaded = data.load(folder, odd_pictures.SHAPE)
    names = [*SEEN, *(f"{i:02}.png" for i in range(20)), "linked.png"]
    names = sorted([*names, "linked folder/nested.png"], key=lambda name: name.split("/"))
    images = loaded.train.images[loaded.train.labels == 0]
    assert len(images) == len(names)
    for name, image in zip(names, images, strict=True):
        seen, by = SEEN.get(name, (odd_pictures.COLOUR, 0))
        assert (image.int() - in_colour(seen)).abs().max() <= by, name
    (note,) = loaded.notes
    assert [record.getMessage() for record in caplog.records] == [f"{folder}: {note}"]
    kinds = re.findall(r"(\d+) ([^()]+?)(?: \(|, or of)", note)
    for kind in {*LEFT_OUT.values(), "broken links", "links to a folder they lie in"}:
        expected = 2 * max(1, list(LEFT_OUT.values()).count(kind))  # in two splits
        assert [int(n) for n, said in kinds if said.startswith(kind)] == [expected], kind


def test_odd_pictures_go_through_the_commands(folder, tmp_path, capsys):
    small = [
        "train.epochs=2",
        "model.dim=16",
        "model.heads=2",
        "model.depth=1",
        "train.rand_augment=[]",
    ]
    main(["train", "--data", str(folder), "--out", str(tmp_path), "--device", "cpu",
          "--set", *small])  # fmt: skip
    summary = json.loads(capsys.readouterr().out)
    assert summary["training_images"] == 42 + len(SEEN)
    weights = str(tmp_path / "own-pictures.safetensors")
    main(["evaluate", weights, "--data", str(folder)])
    share = summary["test_accuracy_last_epoch"]
    assert f"{share:.2%} (" in capsys.readouterr().out
    paths = [str(folder / "train" / "odd" / name) for name in SEEN]
    main(["predict", *paths, "--weights", weights])
    assert capsys.readouterr().out.count("%") == 2 * len(paths)
    for name in ("half.jpg", "float.tif", "huge.png", "notes.txt"):
        with pytest.raises(SystemExit, match=f"error: cannot read .*{name} as an image"):
            main(["predict", str(folder / "train" / "odd" / name), "--weights", weights])


def test_whatever_happens_to_a_file_it_is_read_or_refused():
    """One byte, or a stretch of zeros, somewhere in a file of every kind."""
    dice = np.random.default_rng(0)
    for name, (content, _, _) in ODD.items():
        for length in (1, 1, 20) if content else ():
            spoilt, place = bytearray(content), int(dice.integers(len(content)))
            spoilt[place : place + length] = bytes(dice.integers(256, size=length).tolist())
            try:
                assert pictures.decode(bytes(spoilt), name).ndim == 3
            except pictures.Unreadable as error:
                assert str(error).startswith(f"cannot read {name} as an image: ")
