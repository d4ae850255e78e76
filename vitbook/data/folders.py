"""Data sets that lie on disk as folders of classes, or as zip files of such folders."""

import hashlib
import logging
import os
import zipfile
import zlib
from collections import defaultdict
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import torch

from vitbook.data.cache import decoded, read_pictures
from vitbook.data.pictures import suffixes
from vitbook.data.sets import CUT_OFF, Dataset, Split

LOG = logging.getLogger(__name__)
HELD_OUT = ("test", "testing", "val", "valid", "validation")  # the first one counts
ROLES = {"train": "train", "training": "train", **{role: role for role in HELD_OUT}}
SHARE = 0.2  # of each class is held out where the folder does not say what
LEFT_BEHIND = (".", "@eaDir", "__MACOSX")  # by editors, systems and photo servers
ANNOTATIONS = "val_annotations.txt"  # TinyImageNet: which file of val/images is what


class File(NamedTuple):
    """One file, in a folder or in a zip file."""

    parts: tuple  # ("train", "cat", "0001.png"); ("train", "cat", "") is the folder itself
    where: str  # its full name, for errors
    read: object = None  # a function that returns the bytes
    stamp: tuple = ()  # size and time: with others it is another file
    why: str = ""  # it is left out, whatever it holds


def from_folders(folder, name, size=None, need_train=True):
    """Read ``train/<class>/*`` and ``test/<class>/*`` (or val, valid, validation).

    Where nothing is held out, or there are class folders alone, ``<class>/*``, a fifth of
    each class is held out, always the same pictures. TinyImageNet's own layout is read as
    it ships: ``train/<wnid>/images/*``, ``val/val_annotations.txt`` and ``words.txt``.

    What is no picture or cannot be read is left out. That is logged, once, and stands in
    the data set's ``notes``.

    Args:
        folder: holds the folders, or zip files that hold them.
        name: of the data set.
        size: side to which pictures are brought, or (height, width): the central part,
            resized. Without it all pictures must have one size.
        need_train: with False only what is held out is read, and has to be there.

    Raises:
        ValueError: fewer than two classes, a class without pictures, a class that is
            held out but not trained, pictures of unequal sizes.
    """
    files = list(list_files(Path(folder)))
    special = {file.parts[-1]: file for file in files if file.parts[-1].endswith(".txt")}
    found, skipped = sort_out(files, special)
    train, held_out, notes = choose(folder, found, skipped, need_train)
    origin = CUT_OFF if notes else "the test set"  # a cut is all that is noted so far
    classes, sizes, whole = sorted(train or held_out), {}, Path(folder).resolve()
    test = read_split(held_out, classes, size, f"{whole}: test", sizes, skipped)
    first = test
    if need_train:
        first = read_split(train, classes, size, f"{whole}: train", sizes, skipped)
    for label, kind in enumerate(classes):
        if label not in first[1] and (need_train or not len(first[1])):
            raise ValueError(empty(folder, kind, skipped))
    if not len(test[1]):
        raise ValueError(f"{folder} holds out nothing that can be read, only {told(skipped)}")
    depth = max(first[2] | test[2])  # where some are in colour, all are
    splits = [Split(images[:, :depth], labels) for images, labels, _ in (first, test)]
    if not need_train:
        splits[0] = Split(*(part[:0] for part in splits[0]))
    if missing := [kind for label, kind in enumerate(classes) if label not in test[1]]:
        notes.append(f"nothing to test on of {', '.join(missing)}")
    if skipped and ANNOTATIONS not in special:
        notes.append(f"left out {told(skipped)}")
    for note in notes:
        LOG.warning("%s: %s", name, note)
    return Dataset(name, spoken(classes, special), *splits, tuple(notes), origin)


def list_files(folder):
    """Everything in a folder: files, and the folders themselves, which end in "".

    Zip files are read where there is no ``train`` and there are no class folders.
    """
    tops = sorted(folder.iterdir())
    folders = {path for path in tops if path.is_dir() and not left_behind(path.name)}
    splits = {path for path in folders if path.name.lower() in ROLES}
    zips = {p for p in tops if p.suffix.lower() == ".zip" and not left_behind(p.name)}
    train = any(ROLES[path.name.lower()] == "train" for path in splits)
    if train or len(folders - splits) > 1:
        zips = set()
    for path in tops:
        if path in zips:
            yield from list_zip(path)
        elif path in folders - splits and (splits or zips):
            yield File((path.name,), str(path), why="beside train and test")
        else:
            yield from walk(path, (path.name,), {folder.resolve()})


def walk(path, parts, above):
    """What lies at a path and below it. Links are followed, but to a folder above."""
    if left_behind(path.name):
        yield File(parts, str(path), why="hidden")
    elif path.is_dir():
        real = path.resolve()
        if real in above:
            yield File(parts, str(path), why="links to a folder they lie in")
            return
        yield File((*parts, ""), str(path))
        for inner in sorted(path.iterdir()):
            yield from walk(inner, (*parts, inner.name), above | {real})
    elif path.is_file():
        stat = path.stat()
        yield File(parts, str(path), path.read_bytes, (stat.st_size, stat.st_mtime_ns))
    else:
        yield File(parts, str(path), why="broken links")


def left_behind(name):
    """Whether editors, systems and photo servers put files of this name beside pictures."""
    return name.startswith(LEFT_BEHIND)


def list_zip(path):
    """Every file in a zip, without the folders above ``train``, ``test`` or the classes."""
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not a whole zip file ({error}); replace it") from error
    members = [member for member in archive.infolist() if not member.is_dir()]
    split = [tuple(member.filename.split("/")) for member in members]
    inside = [parts[:-1] for parts in split if not any(map(left_behind, parts))] or [()]
    shared = takewhile(
        lambda pair: pair[0] == pair[1], zip(min(inside), max(inside), strict=False)
    )
    above = min(len(list(shared)), max(map(len, inside)) - 1)  # the last may be the class
    for member, parts in zip(members, split, strict=True):
        top = next((i for i, part in enumerate(parts) if part.lower() in ROLES), above)
        where, stamp = f"{path}/{member.filename}", (member.file_size, member.CRC)
        why = "hidden" if any(map(left_behind, parts)) else ""
        read = partial(read_member, archive, member.filename)
        yield File(parts[min(top, len(parts) - 1) :], where, read, stamp, why)


def read_member(archive, name):
    """The bytes of one file in a zip file; its own checksum is checked on the way."""
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise ValueError(
            f"{archive.filename} cannot be read at {name} ({error}); replace it"
        ) from error


def sort_out(files, special):
    """What the files are: {role: {class: [file, …]}}, and {why: [name, …]} of the others.

    A role is "train", a name of HELD_OUT, or "" where there are class folders alone. A
    class without pictures has an empty list.
    """
    labels = {}
    if ANNOTATIONS in special:
        lines = special[ANNOTATIONS].read().decode().splitlines()
        labels = dict(line.split("\t")[:2] for line in lines)
    alone = not any(len(file.parts) > 1 and file.parts[0].lower() in ROLES for file in files)
    found, skipped = defaultdict(dict), defaultdict(list)
    for file in sorted(files, key=lambda file: file.parts):
        role, kind = place(file.parts, alone)
        if labels and role != "train":
            kind = labels.get(file.parts[-1], "")
        if kind:
            found[role].setdefault(kind, [])
        if why := unfit(file, kind):
            skipped[why].append("/".join(file.parts))
        elif file.parts[-1]:
            found[role][kind].append(file)
    return found, skipped


def place(parts, alone):
    """The role and the class of a file by the folders it lies in; "" where it has no class."""
    *folders, _ = parts
    role = "" if alone else ROLES.get(folders.pop(0).lower(), "") if folders else ""
    known = bool(role) or alone
    return role, folders[0] if folders and known and not left_behind(folders[0]) else ""


def unfit(file, kind):
    """Why a file is no picture of a class, as far as its name says; else ""."""
    name = file.parts[-1]
    suffix = Path(name).suffix.lower()
    if file.why or not name:
        return file.why
    if suffix not in suffixes():
        return f"{suffix} files" if suffix else "files without a suffix"
    return "" if kind else "in no class folder"


def choose(folder, found, skipped, need_train):
    """What to train on and what to test on, {class: [file, …]} each, and notes on that.

    Raises:
        ValueError: what the folder holds is not enough.
    """
    train, notes = found.get("train") or found.get("", {}), []
    held = [role for role in HELD_OUT if any(found.get(role, {}).values())]
    held_out = {kind: group for kind, group in found[held[0]].items() if group} if held else {}
    for role in held[1:]:
        names = ["/".join(file.parts) for group in found[role].values() for file in group]
        skipped[f"in {role}, as there is {held[0]}"] += names
    if not train and held_out and not need_train:
        return {}, held_out, notes
    for kind, group in sorted(train.items()):
        if not group:
            raise ValueError(empty(folder, kind, skipped))
    if len(train) < 2:
        only = (
            f"pictures in {held[0]} alone, enough for evaluate" if held_out else told(skipped)
        )
        there = ", ".join(train) or only or "nothing"
        raise ValueError(
            f"{folder} holds {len(train)} class folders to train on ({there}); expected "
            "train/<class>/*, or <class>/* alone, and at least two classes"
        )
    if not any(found.get(role) for role in HELD_OUT):
        whole, (train, held_out) = train, share_out(train)
        notes.append(
            f"{count(held_out)} of {count(whole)} pictures are held out to test on, "
            f"{SHARE:.0%} of each class, always the same ones"
        )
    if not held_out or held_out.keys() - train.keys():
        raise ValueError(
            f"{folder} holds out {sorted(held_out) or 'nothing'}; expected test/<class>/* or "
            f"val/<class>/* with classes out of {sorted(train)}"
        )
    return train, held_out, notes


def share_out(found):
    """Hold a share of each class out, one picture at least where there are two.

    Which ones depends on nothing but their names: pictures that are added later leave
    nearly all others where they were.
    """
    train, held_out = {}, {}
    for kind, group in found.items():
        some = max(round(SHARE * len(group)), min(1, len(group) - 1))
        drawn = {file.parts for file in sorted(group, key=dice)[:some]}
        train[kind] = [file for file in group if file.parts not in drawn]
        held_out[kind] = [file for file in group if file.parts in drawn]
    return train, {kind: group for kind, group in held_out.items() if group}


def dice(file):
    """A number as good as drawn, always the same for a file of this name."""
    return hashlib.sha256(os.fsencode("/".join(file.parts))).digest()


def count(found):
    """How many pictures there are in all classes."""
    return sum(map(len, found.values()))


def told(skipped):
    """What was left out: by kind, how many, and the first."""
    return ", ".join(
        f"{len(names)} {why} (first: {names[0]})" for why, names in skipped.items()
    )


def empty(folder, kind, skipped):
    """What to say of a class without pictures."""
    there = {
        why: [n for n in names if f"/{kind}/" in f"/{n}"] for why, names in skipped.items()
    }
    there = told({why: names for why, names in there.items() if names})
    return (
        f"no picture of the class {kind!r} can be read in {folder}"
        + (f", only {there}" if there else "")
        + "; add some, or take its folder away"
    )


def read_split(found, classes, size, title, sizes, skipped):
    """Read the pictures of a split, in the order of the classes.

    Args:
        found: {class: [file, …]}.
        classes: sorted names.
        size: side or (height, width) of the result; None for pictures of one size.
        title: of the list, for the cache and the progress bar.
        sizes: {(height, width): file}, of what was read as it is; added to.
        skipped: {why: [name, …]}; what cannot be read is added.

    Returns:
        images (image, 3, height, width) uint8, labels (image,) int64, and their numbers
        of channels, 1 or 3, in a set.
    """
    files = [
        (file, label) for label, kind in enumerate(classes) for file in found.get(kind, [])
    ]
    if size is None:
        read = [decoded(file) for file, _ in files]
        for (file, _), (_, image) in zip(files, read, strict=True):
            if image is not None:
                sizes.setdefault(tuple(image.shape[1:]), file.where)
        if len(sizes) > 1:
            (one, first), (other, second) = list(sizes.items())[:2]
            raise ValueError(
                f"pictures differ in size: {one} in {first} and {other} in {second}; give a "
                "size, load(path, size=64), to have the central square of each resized"
            )
        images = [image for _, image in read if image is not None]
        images = torch.stack(images) if images else torch.empty(0, 3, 0, 0)
        results = [result for result, _ in read]
    else:
        shape = (size, size) if isinstance(size, int) else tuple(size)
        images, results = read_pictures([file for file, _ in files], shape, title)
    labels = []
    for (file, label), result in zip(files, results, strict=True):
        if isinstance(result, int):
            labels.append(label)
        else:
            kind, detail = result
            skipped[kind].append("/".join(file.parts) + f": {detail}" * bool(detail))
    channels = {result for result in results if isinstance(result, int)}
    return images, torch.tensor(labels, dtype=torch.int64), channels


def spoken(classes, special):
    """Class names; TinyImageNet's ``n01443537`` become "goldfish" by its words.txt."""
    if "words.txt" not in special:
        return classes
    lines = special["words.txt"].read().decode().splitlines()
    words = dict(line.split("\t")[:2] for line in lines if "\t" in line)
    return [words[kind].split(",")[0] if kind in words else kind for kind in classes]
