"""How every command begins and ends: whatever goes wrong is one sentence on stderr and an exit code."""

from __future__ import annotations

import io
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from cifarsweep.errors import CifarsweepError
from cifarsweep.text import Visible


def main() -> None:
    """Run the command line."""
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        # Ctrl-C amid the imports would be a traceback of whichever module it hits; so it just ends the process.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cifarsweep.cli.app import app

    try:
        signal.signal(signal.SIGINT, interrupted)
        _prepare_streams()
        try:
            app()
        finally:
            # Here and not when Python ends, which complains in words of its own.
            if sys.stdout is not None:
                sys.stdout.flush()
    except CifarsweepError as error:
        _end(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`| head`).
        _end(None, 141)
    # What follows is a net: whoever can say more of these catches them where they happen.
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}")
    except UnicodeEncodeError as error:
        _end(f"{ascii(error.object[:80])} is no text that {error.encoding} can hold")
    except MemoryError:
        _end("there is not enough memory for this; give it less at once, or more memory")
    except RecursionError:
        _end("what was given nests too deeply")


def _prepare_streams() -> None:
    """Let nothing that is printed steer the terminal: names and errors come from files and from other machines."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal does not have becomes a question mark.
        sys.stdout.reconfigure(errors="replace")
    # None where they were closed.
    if sys.stdout is not None:
        sys.stdout = Visible.of(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = Visible.of(sys.stderr)


def _end(sentence: str | None, code: int = CifarsweepError.exit_code) -> NoReturn:
    from cifarsweep.cli.options import discard_output

    with suppress(OSError):
        if sentence is not None:
            # What a name says after the end of a line looks like no line of ours.
            print("error: " + sentence.replace("\n", "\n  "), file=sys.stderr, flush=True)
    discard_output()
    sys.exit(code)
