"""Make sure that the site tests have a Chromium to drive.

Finds one that is installed. In continuous integration, on a machine where packages may
be installed (Debian, as root), installs Debian's. Elsewhere only says what is missing:
the tests that need a browser are then skipped, by name.
"""

import os
import shutil
import subprocess

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find():
    """The path of an installed Chromium or Chrome, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


if __name__ == "__main__":
    if not find() and os.environ.get("CI") and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], check=True)
    print(find() or f"no browser found (looked for {', '.join(NAMES)}): site tests will skip")
