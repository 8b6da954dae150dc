"""The start and end of every command: an error becomes one sentence on stderr and an exit code."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from cifarsweep.errors import CifarsweepError
from cifarsweep.text import EscapedStream

if TYPE_CHECKING:
    from typer import Typer


def main() -> None:
    """Run the command line."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        # Ctrl-C during the imports would print a traceback; so it just ends the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cifarsweep.cli.app import app

    try:
        signal.signal(signal.SIGINT, interrupted)
        _prepare_streams()
        try:
            code = _run(app)
        finally:
            # Flush here: at interpreter exit Python would print its own traceback.
            if sys.stdout is not None:
                sys.stdout.flush()
        sys.exit(code)
    except CifarsweepError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`).
        _end(None, 141)
    # Last resort: code that can say more about such errors catches them itself.
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}")
    except UnicodeEncodeError as error:
        _end(f"{ascii(error.object[:80])} is no text that {error.encoding} can hold")
    except MemoryError:
        _end("there is not enough memory for this; give it less at once, or more memory")
    except RecursionError:
        _end("what was given nests too deeply")


def _run(app: Typer) -> int:
    """Run the command that was asked for; return its exit code."""
    from cifarsweep.cli.usage_errors import UsageError, usage_sentence

    try:
        # Otherwise Typer prints mistakes in its own words.
        return app(standalone_mode=False) or 0
    except UsageError as error:
        if "NoArgsIsHelp" in type(error).__name__:
            error.show()
        else:
            _end(usage_sentence(error), error.exit_code)
        return int(error.exit_code)


def _prepare_streams() -> None:
    """Escape all output: names and errors come from files and other machines, and must not steer the terminal."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Characters that the terminal lacks become question marks.
        sys.stdout.reconfigure(errors="replace")
    # Closed streams are None.
    if sys.stdout is not None:
        sys.stdout = EscapedStream.of(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = EscapedStream.of(sys.stderr)


def _end(sentence: str | None, code: int = CifarsweepError.exit_code) -> NoReturn:
    from cifarsweep.cli.options import discard_output

    with suppress(OSError):
        if sentence is not None:
            # Indented, so that a line feed in a name can't fake a line of ours.
            print("error: " + sentence.replace("\n", "\n  "), file=sys.stderr, flush=True)
    discard_output()
    sys.exit(code)
