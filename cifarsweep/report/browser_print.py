"""Pages as PDF and as pictures, by the Chromium that is installed here. It is given no way to the network."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cifarsweep.environment import without_database
from cifarsweep.errors import OutputError
from cifarsweep.files import scratch, write_atomically

if TYPE_CHECKING:
    from PIL.Image import Image

VARIABLE = "CIFARSWEEP_CHROMIUM"
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PATIENCE_S = 120
#: Width of a picture in pixels, and the most that a page may be high: Chromium draws no more than this at once.
WIDTH, _HIGHEST = 1280, 16_000
#: Only the page may be read: names resolve to nothing, and Chromium's own services are off.
_ALONE = (
    # A mouse that hovers, as on a desk: without one plotly shows its buttons all the time.
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
)


def find_chromium(env: Mapping[str, str] | None = None) -> str:
    """The browser that `$CIFARSWEEP_CHROMIUM` names, else the first on PATH. Raises OutputError where there is none."""
    env = os.environ if env is None else env
    if named := env.get(VARIABLE):
        if found := shutil.which(named):
            return found
        raise OutputError(f"${VARIABLE}: {named!r} is no program; let it name a Chromium, or unset it")
    for name in _NAMES:
        if found := shutil.which(name, path=env.get("PATH")):
            return found
    raise OutputError(
        f"--pdf and --png need Chromium, and none is on PATH: install it, or let ${VARIABLE} name one; "
        "the pages are written and print from any browser"
    )


def write_pdf(page: Path) -> Path:
    """Print a page into a PDF beside it; returns its path. Raises OutputError."""
    out = page.with_suffix(".pdf")
    with scratch() as folder:
        made = folder / "page.pdf"
        _run(page, made, folder, "--no-pdf-header-footer", f"--print-to-pdf={made}")
        _put(made.read_bytes(), out)
    return out


def write_png(page: Path) -> tuple[Path, bool]:
    """Draw a page into a PNG beside it; returns its path, and whether the whole page is on it. Raises OutputError."""
    from PIL import Image

    out = page.with_suffix(".png")
    with scratch() as folder:
        made = folder / "page.png"
        # The height of a page is known only when it is drawn: a window that is too high, and the empty rest cut off.
        _run(page, made, folder, f"--window-size={WIDTH},{_HIGHEST}", f"--screenshot={made}")
        with Image.open(made) as drawn:
            picture = drawn.convert("RGB")
        height = _used(picture)
        picture.crop((0, 0, picture.width, height)).save(made)
        _put(made.read_bytes(), out)
    return out, height < picture.height


def _used(picture: Image) -> int:
    """Rows down to the last one that is not paper, and a margin."""
    from PIL import Image, ImageChops

    paper = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
    box = ImageChops.difference(picture, paper).getbbox()
    return min((box[3] if box else 0) + 40, picture.height)


def _run(page: Path, made: Path, folder: Path, *options: str) -> None:
    # Root, as in a container, has no sandbox to offer; the pages are our own, and their policy forbids foreign scripts.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    command = [
        *(find_chromium(), "--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}"),
        *(*_ALONE, *sandbox, "--virtual-time-budget=30000", *options, page.resolve().as_uri()),
    ]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False, env=without_database()
        )
    except subprocess.TimeoutExpired:
        raise OutputError(f"{page}: Chromium did not draw it within {_PATIENCE_S} s; try again, or print it") from None
    except OSError as error:
        raise OutputError(f"{command[0]}: can't be started: {error.strerror}; let ${VARIABLE} name another") from None
    if not made.is_file():
        last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise OutputError(f"{page}: Chromium drew nothing and ended with {ended.returncode}: {last}")


def _put(content: bytes, out: Path) -> None:
    try:
        write_atomically(out, content)
    except OSError as error:
        raise OutputError(f"{out}: can't be written: {error.strerror}; choose another folder with --out") from None
