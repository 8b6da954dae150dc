"""Prints pages as PDF and draws them as PNG with an installed Chromium, which gets no way to the network."""

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
TIMEOUT_S = 120
#: Width of a picture in pixels, and the greatest height that Chromium draws at once.
WIDTH, _MOST_HEIGHT = 1280, 16_000
#: No host name resolves, and Chromium's own services are off.
_OFFLINE = (
    # A mouse that can hover: without one plotly always shows its buttons.
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
    """Find the browser that `$CIFARSWEEP_CHROMIUM` names, else the first on PATH. Raises OutputError."""
    env = os.environ if env is None else env
    if named := env.get(VARIABLE):
        if found := shutil.which(named):
            return found
        raise OutputError(f"${VARIABLE}: {named!r} is no program; let it name a Chromium, or unset it")
    for name in _NAMES:
        if found := shutil.which(name, path=env.get("PATH")):
            return found
    raise OutputError(
        f"--pdf, --png and --figures need Chromium, and none is on PATH: install it, or let ${VARIABLE} name one; "
        "pages print from any browser"
    )


def write_pdf(page: Path) -> Path:
    """Print a page into a PDF beside it and return its path. Raises OutputError."""
    out = page.with_suffix(".pdf")
    _write(print_sheet(page), out)
    return out


def write_png(page: Path) -> tuple[Path, bool]:
    """Draw a page into a PNG beside it. Return its path, and whether it shows the whole page. Raises OutputError."""
    from PIL import Image

    out = page.with_suffix(".png")
    with scratch() as folder:
        made = folder / "page.png"
        # The height is unknown before drawing: draw in a window that is too high, and cut off the empty rest.
        _draw(page, made, folder, f"--window-size={WIDTH},{_MOST_HEIGHT}", f"--screenshot={made}")
        with Image.open(made) as drawn:
            picture = drawn.convert("RGB")
        height = _content_height(picture)
        picture.crop((0, 0, picture.width, height)).save(made)
        _write(made.read_bytes(), out)
    return out, height < picture.height


def _content_height(picture: Image) -> int:
    """Rows down to the last one with any content, and a margin."""
    from PIL import Image, ImageChops

    paper = Image.new("RGB", picture.size, picture.getpixel((0, picture.height - 1)))
    box = ImageChops.difference(picture, paper).getbbox()
    return min((box[3] if box else 0) + 40, picture.height)


def read_dom(page: Path, width: int, fragment: str = "") -> str:
    """The page as HTML, after its scripts ran in a window of that width in pixels. Raises OutputError."""
    with scratch() as folder:
        ended = _run(page, folder, f"--window-size={width},1200", "--dump-dom", fragment=fragment)
    if not ended.stdout.strip():
        raise OutputError(f"{page}: Chromium drew nothing and {_end(ended)}")
    return ended.stdout


def print_sheet(page: Path) -> bytes:
    """Print a page that says its own paper size into a PDF and return it. Raises OutputError."""
    with scratch() as folder:
        made = folder / "page.pdf"
        _draw(page, made, folder, "--no-pdf-header-footer", f"--print-to-pdf={made}")
        return made.read_bytes()


def _draw(page: Path, made: Path, folder: Path, *options: str) -> None:
    ended = _run(page, folder, *options)
    if not made.is_file():
        raise OutputError(f"{page}: Chromium drew nothing and {_end(ended)}")


def _end(ended: subprocess.CompletedProcess[str]) -> str:
    last = (ended.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"ended with {ended.returncode}: {last}"


def _run(page: Path, folder: Path, *options: str, fragment: str = "") -> subprocess.CompletedProcess[str]:
    command = [
        *chromium_command(folder),
        *("--virtual-time-budget=30000", *options, page.resolve().as_uri() + fragment),
    ]
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=without_database()
        )
    except subprocess.TimeoutExpired:
        raise OutputError(f"{page}: Chromium did not draw it within {TIMEOUT_S} s; try again, or print it") from None
    except OSError as error:
        raise OutputError(f"{command[0]}: can't be started: {error.strerror}; let ${VARIABLE} name another") from None


def chromium_command(folder: Path) -> list[str]:
    """How Chromium is started without a window and without a way to the network. Raises OutputError without one."""
    # Chromium has no sandbox for root, the usual user in a container. The pages are ours and forbid foreign scripts.
    sandbox = ("--no-sandbox",) if os.geteuid() == 0 else ()
    headless = ("--headless", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={folder / 'profile'}")
    return [find_chromium(), *headless, *_OFFLINE, *sandbox]


def _write(content: bytes, out: Path) -> None:
    try:
        write_atomically(out, content)
    except OSError as error:
        raise OutputError(f"{out}: can't be written: {error.strerror}; choose another folder with --out") from None
