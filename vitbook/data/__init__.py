"""Chapter 5: data sets as uint8 tensors, and augmentation on whole batches.

``augment`` holds what the chapter builds; ``digits``, ``folders`` and ``downloads`` know
where pictures come from.
"""

from pathlib import Path

from vitbook.data.augment import (
    cutmix,
    mixup,
    normalize,
    random_crop,
    random_erase,
    random_flip,
)
from vitbook.data.digits import digits_canvas, load_digits, load_digits_canvas
from vitbook.data.downloads import TORCHVISION, data_root, from_torchvision, tiny_imagenet
from vitbook.data.folders import from_folders
from vitbook.data.pictures import PHOTOGRAPHS, photograph, picture, square
from vitbook.data.rand_augment import rand_augment
from vitbook.data.sets import Dataset, Split, first, hold_out, to_device

__all__ = [
    "PHOTOGRAPHS",
    "Dataset",
    "Split",
    "cutmix",
    "data_root",
    "digits_canvas",
    "first",
    "hold_out",
    "load",
    "mixup",
    "normalize",
    "photograph",
    "picture",
    "rand_augment",
    "random_crop",
    "random_erase",
    "random_flip",
    "to_device",
]

BUILT_IN = {"digits": load_digits, "digits-canvas": load_digits_canvas}
NAMES = (*BUILT_IN, *TORCHVISION, "tiny-imagenet")


def load(name, size=None, need_train=True):
    """Load a data set by name, or from a folder of class folders.

    Args:
        name: "digits" and "digits-canvas" need no network. "mnist",
            "fashion-mnist", "cifar10", "cifar100" and "tiny-imagenet" are read from
            ``$VITBOOK_DATA/<name>`` (default ``~/.cache/vitbook``), as class folders,
            zip files of class folders or as their authors' files, else downloaded
            there. A path is read as ``train/<class>/*`` and ``test/<class>/*`` (or val,
            valid, validation), or as ``<class>/*``, of which a fifth is held out; in
            folders or in zip files.
        size: bring every picture to size × size, or to (height, width): its central
            part, resized. Without it pictures keep their size, which must then be one
            for all.
        need_train: with False, a folder needs to hold test pictures alone; only those
            are read, and ``train`` is empty.

    Returns:
        A :class:`Dataset`.

    Raises:
        ValueError: an unknown name, or a folder without two classes of images.
        ConnectionError: a download that failed.
    """
    if name not in BUILT_IN:
        return read(str(name), folder_of(str(name)), size, need_train)
    loaded = BUILT_IN[name]()
    return loaded if size is None else resized(loaded, size)


def resized(dataset, size):
    """The data set with the central part of every picture, at another size."""
    train, test = (
        split._replace(images=square(split.images, size))
        for split in (dataset.train, dataset.test)
    )
    return dataset._replace(train=train, test=test)


def folder_of(name):
    """Where a data set lies, or should lie.

    Raises:
        ValueError: a path with ``~``, and no home.
    """
    try:
        return data_root() / name if name in NAMES else Path(name).expanduser()
    except RuntimeError as error:
        raise ValueError(
            f"{name!r} is looked for below a home folder, and there is none ({error}); set "
            "VITBOOK_DATA, or give the whole path"
        ) from error


def read(name, folder, size, need_train):
    """Read a data set that lies in a folder, or that is fetched into it."""
    there = (folder / "train").is_dir() or any(folder.glob("*.zip"))
    if there or (name not in NAMES and folder.is_dir()):
        return from_folders(folder, name, size, need_train)
    if name in TORCHVISION:
        loaded = from_torchvision(name, folder)
        return loaded if size is None else resized(loaded, size)
    if name == "tiny-imagenet":
        return tiny_imagenet(folder, size)
    raise ValueError(
        f"{name!r} is neither a known data set ({', '.join(NAMES)}) nor a folder of pictures, "
        "train/<class>/* or <class>/*; check the spelling or the path"
    )
