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


def load(name, size=None):
    """Load a data set by name, or from a folder of class folders.

    Args:
        name: "digits" and "digits-canvas" need no network. "mnist",
            "fashion-mnist", "cifar10", "cifar100" and "tiny-imagenet" are read from
            ``$VITBOOK_DATA/<name>`` (default ``~/.cache/vitbook``), as class folders,
            zip files of class folders or as their authors' files, else downloaded
            there. A path is read as ``train/<class>/*`` and ``test/<class>/*`` (or
            ``val``), in folders or in zip files.
        size: bring every picture to size × size: its central square, resized. Without
            it pictures keep their size, which must then be one for all.

    Returns:
        A :class:`Dataset`.

    Raises:
        ValueError: an unknown name, or a folder without two classes of images.
        ConnectionError: a download that failed.
    """
    if name in BUILT_IN:
        loaded = BUILT_IN[name]()
    else:
        folder = data_root() / name if name in NAMES else Path(name).expanduser()
        loaded = read(str(name), folder, size)
    if size is None:
        return loaded
    splits = [split._replace(images=square(split.images, size)) for split in loaded[2:]]
    return loaded._replace(train=splits[0], test=splits[1])


def read(name, folder, size):
    """Read a data set that lies in a folder, or that is fetched into it."""
    if (folder / "train").is_dir() or any(folder.glob("*.zip")):
        return from_folders(folder, name, size)
    if name in TORCHVISION:
        return from_torchvision(name, folder)
    if name == "tiny-imagenet":
        return tiny_imagenet(folder, size)
    raise ValueError(
        f"{name!r} is neither a known data set ({', '.join(NAMES)}) nor a folder that "
        "holds train/<class>/*.png; check the spelling or the path"
    )
