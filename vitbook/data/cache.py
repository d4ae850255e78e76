"""Decoded pictures on the disk: read once, and mapped into memory from then on.

A file of the cache holds the pixels of one list of pictures, behind them as JSON what each
file came to, and at its end the length of that JSON. Mapped, the pixels take no memory of
the process: the system reads what is looked at, and lets go of it when memory is short.
"""

import hashlib
import json
import logging
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import torch
from tqdm import tqdm

from vitbook.data.pictures import Unreadable, channels, decode, square

LOG = logging.getLogger(__name__)
CHUNK = 256  # pictures under way at once


def shelf():
    """Where decoded pictures are kept: ``$VITBOOK_CACHE``, or ``~/.cache/vitbook/pictures``."""
    return Path(os.environ.get("VITBOOK_CACHE", "~/.cache/vitbook/pictures")).expanduser()


def version():
    """Pictures that were decoded by other code are decoded again."""
    import PIL

    return ["1", PIL.__version__]


def read_pictures(files, shape, title):
    """Pictures brought to one shape: from the cache where they are in it, else decoded.

    A picture is known by its name, size and time. A file of the cache that is not whole is
    written anew.

    Args:
        files: a list of :class:`vitbook.data.folders.File`.
        shape: (height, width) of the result.
        title: tells this list from others; shown beside the progress bar.

    Returns:
        images, (readable file, 3, height, width), uint8, mapped from the cache or, where
        that cannot be written, in memory; and for each file its number of channels, 1 or
        3, or [kind, detail] of what is wrong with it.
    """
    keys = [["/".join(file.parts), *file.stamp] for file in files]
    images, entries = none(shape), []
    try:
        digest = hashlib.sha256(os.fsencode(f"{title} {shape}")).hexdigest()
        path = shelf() / f"{digest[:16]}.pictures"
        images, entries = opened(path, shape)
        if [key for key, _ in entries] != keys:
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f"{path.name}.{os.getpid()}.part")
            try:
                with open(part, "wb") as out:
                    write(out, files, keys, shape, title, images, entries)
                os.replace(part, path)
            finally:
                part.unlink(missing_ok=True)
            images, entries = opened(path, shape)
        if [key for key, _ in entries] != keys:
            raise OSError(f"another process changed {path}")
    except (OSError, RuntimeError) as error:  # no room, no permission, no home
        LOG.warning(
            "decoded pictures cannot be kept (%s): they stay in memory this time. Set "
            "VITBOOK_CACHE to a folder with room",
            error,
        )
        out = BytesIO()
        entries = write(out, files, keys, shape, title, images, entries)
        images = torch.frombuffer(bytearray(out.getbuffer()), dtype=torch.uint8)
        images = images[: rows(entries) * 3 * shape[0] * shape[1]].view(-1, 3, *shape)
    return images, [found for _, found in entries]


def opened(path, shape):
    """The pictures of a file of the cache, mapped, and its entries; none if it is not whole."""
    try:
        with open(path, "rb") as file:
            end = file.seek(-8, os.SEEK_END)
            length = int.from_bytes(file.read(8), "big")
            start = file.seek(end - length)
            about = json.loads(file.read(length))
        mapped = torch.from_file(str(path), size=start, dtype=torch.uint8)
        if about["version"] == version() and about["crc"] == zlib.crc32(mapped.numpy()):
            return mapped.view(rows(about["entries"]), 3, *shape), about["entries"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        pass  # not there, cut short, or something else
    return none(shape), []


def write(out, files, keys, shape, title, images, entries):
    """Write a file of the cache; what is known already is taken over. Returns its entries."""
    known, row = {}, iter(images)
    for key, found in entries:
        known[tuple(key)] = found, next(row) if isinstance(found, int) else None

    def read(file, key):
        return known.get(tuple(key)) or decoded(file, shape)

    written, crc = [], 0
    with (
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
        tqdm(total=len(files), desc=f"reading {title}", delay=1, mininterval=1) as bar,
    ):
        for start in range(0, len(files), CHUNK):
            few = slice(start, start + CHUNK)
            for key, (found, image) in zip(
                keys[few], pool.map(read, files[few], keys[few]), strict=True
            ):
                written.append([key, found])
                if image is not None:
                    content = image.contiguous().numpy().tobytes()
                    crc = zlib.crc32(content, crc)
                    out.write(content)
                bar.update()
    about = json.dumps({"version": version(), "crc": crc, "entries": written}).encode()
    out.write(about + len(about).to_bytes(8, "big"))
    return written


def decoded(file, shape=None):
    """What a file comes to: its channels and (3, height, width), or what is wrong and None.

    Raises:
        ValueError: it cannot be opened at all, which is no fault of the picture.
    """
    try:
        image = decode(file.read(), file.where)
    except Unreadable as error:
        return [error.kind, error.detail], None
    except OSError as error:
        raise ValueError(f"{file.where} cannot be opened: {error.strerror}") from error
    small = image if shape is None else square(image, shape)
    return image.shape[0], channels(small, 3)


def rows(entries):
    """How many of the entries are pictures."""
    return sum(isinstance(found, int) for _, found in entries)


def none(shape):
    """No pictures of a shape."""
    return torch.empty(0, 3, *shape, dtype=torch.uint8)
