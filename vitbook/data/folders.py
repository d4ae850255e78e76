"""Data sets that lie on disk as folders of classes, or as zip files of such folders."""

import zipfile
import zlib
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from vitbook.data.pictures import SUFFIXES, channels, decode, square
from vitbook.data.sets import Dataset, Split

SPLITS = ("train", "test", "val")
ANNOTATIONS = "val_annotations.txt"  # TinyImageNet: which file of val/images is what


class File(NamedTuple):
    """One file, in a folder or in a zip file."""

    parts: tuple  # ("train", "cat", "0001.png")
    where: str  # its full name, for errors
    read: object  # a function that returns the bytes


def from_folders(folder, name, size=None):
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or ``val``).

    TinyImageNet's own layout is read as it ships: ``train/<wnid>/images/*``,
    ``val/val_annotations.txt`` and ``words.txt``.

    Args:
        folder: holds the folders, or zip files that hold them.
        name: of the data set.
        size: side to which pictures are brought: the central square, resized. Without
            it all pictures must have one size.

    Raises:
        ValueError: fewer than two classes, a class without pictures, a class that is
            held out but not trained, unreadable or unequal pictures.
    """
    files = list(list_files(Path(folder)))
    special = {file.parts[-1]: file for file in files if file.parts[-1].endswith(".txt")}
    train = by_class(files, "train", {})
    named = {
        file.parts[1] for file in files if file.parts[0] == "train" and len(file.parts) > 2
    }
    if bare := sorted(named - train.keys()):
        raise ValueError(f"no images ({', '.join(SUFFIXES)}) in {folder}/train/{bare[0]}")
    if len(train) < 2:
        raise ValueError(
            f"{folder}/train holds {len(train)} class folders; expected one folder of images "
            "per class, and at least two classes"
        )
    if ANNOTATIONS in special:
        lines = special[ANNOTATIONS].read().decode().splitlines()
        held_out = by_class(files, "val", dict(line.split("\t")[:2] for line in lines))
    else:
        held_out = by_class(files, "test", {}) or by_class(files, "val", {})
    if not held_out or held_out.keys() - train.keys():
        raise ValueError(
            f"{folder} holds out {sorted(held_out) or 'nothing'}; expected test/<class>/* or "
            f"val/<class>/* with classes out of {sorted(train)}"
        )
    classes = sorted(train)
    splits = one_depth(*(read_split(part, classes, size) for part in (train, held_out)))
    return Dataset(name, spoken(classes, special), *splits)


def list_files(folder):
    """Every file below a folder; where there is no ``train``, those in its zip files.

    Names that begin with a dot are left out: systems and editors put them there.
    """
    if not (folder / "train").is_dir():
        for path in sorted(folder.glob("[!.]*.zip")):
            yield from list_zip(path)
    for part in SPLITS:
        for path in sorted((folder / part).rglob("*")):
            parts = path.relative_to(folder).parts
            if any(part.startswith(".") for part in parts):
                continue
            if path.is_dir() and all(p.name.startswith(".") for p in path.iterdir()):
                raise ValueError(f"no images ({', '.join(SUFFIXES)}) in {path}")
            if path.is_file():
                yield File(parts, str(path), path.read_bytes)
    for path in folder.glob("*.txt"):
        yield File((path.name,), str(path), path.read_bytes)


def list_zip(path):
    """Every file in a zip, without the folders above ``train``, ``test`` and ``val``."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole zip file ({error}); replace it") from error
    for name in sorted(archive.namelist()):
        parts = tuple(name.split("/"))
        top = next((i for i, part in enumerate(parts) if part in SPLITS), len(parts) - 1)
        if parts[-1] and not any(part.startswith(".") for part in parts):  # else a folder
            yield File(parts[top:], f"{path}/{name}", partial(read_member, archive, name))


def read_member(archive, name):
    """The bytes of one file in a zip file; its own checksum is checked on the way."""
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{archive.filename} cannot be read at {name} ({error}); replace it"
        ) from error


def by_class(files, split, labels):
    """The pictures of a split, sorted: {class: [file, …]}.

    ``labels`` names the class of a file where the folder does not, as in TinyImageNet.
    """
    found = defaultdict(list)
    for file in files:
        picture = file.parts[-1].lower().endswith(SUFFIXES)
        if file.parts[0] == split and len(file.parts) > 2 and picture:
            found[labels.get(file.parts[-1], file.parts[1])].append(file)
    return {kind: sorted(group, key=lambda file: file.parts) for kind, group in found.items()}


def read_split(found, classes, size):
    """Read the pictures of a split; a list of tensors and their labels."""
    images, labels, sizes = [], [], {}
    for label, kind in enumerate(classes):
        for file in found.get(kind, []):
            image = decode(file.read(), file.where)
            image = image if size is None else square(image, size)
            sizes.setdefault(tuple(image.shape[1:]), file.where)
            images.append(image)
            labels.append(label)
    if len(sizes) > 1:
        (one, first), (other, second) = list(sizes.items())[:2]
        raise ValueError(
            f"pictures differ in size: {one} in {first} and {other} in {second}; give a "
            "size, load(path, size=64), to have the central square of each resized"
        )
    return images, torch.tensor(labels)


def one_depth(*splits):
    """Stack pictures; where some are grey and some in colour, all become colour."""
    depth = max(image.shape[0] for images, _ in splits for image in images)
    for images, labels in splits:
        yield Split(torch.stack([channels(image, depth) for image in images]), labels)


def spoken(classes, special):
    """Class names; TinyImageNet's ``n01443537`` become "goldfish" by its words.txt."""
    if "words.txt" not in special:
        return classes
    lines = special["words.txt"].read().decode().splitlines()
    words = dict(line.split("\t")[:2] for line in lines if "\t" in line)
    return [words.get(kind, kind).split(",")[0] for kind in classes]
