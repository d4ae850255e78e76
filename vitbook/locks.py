"""One process at a time in a folder."""

import os
from contextlib import contextmanager


@contextmanager
def locked(folder, wait=True):
    """Inside, no other process holds this folder.

    The system keeps the lock, and lets go of it however this process ends: one that was
    killed is in nobody's way. There is no file of its own: the folder itself is locked.
    Windows and some network drives cannot do that; there nothing is locked.

    Args:
        folder: it must exist.
        wait: for the other process to let go.

    Raises:
        BlockingIOError: another process is inside, and ``wait`` is off.
    """
    try:
        import fcntl

        place = os.open(folder, os.O_RDONLY)
    except (ImportError, PermissionError):
        yield
        return
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:
            pass  # a drive that knows no locks
        yield
    finally:
        os.close(place)
