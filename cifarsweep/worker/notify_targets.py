"""Where people are told of events: an address that takes JSON by POST, or a command that reads it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit, urlunsplit

from cifarsweep.environment import without_database
from cifarsweep.errors import SpecError
from cifarsweep.version import __version__

#: Holds targets, one a line: on a command line every user of the machine could read them.
VARIABLE = "CIFARSWEEP_NOTIFY"
#: How long an address, and a command, may take. Seconds.
_ANSWER_S, _COMMAND_S = 10.0, 30.0


class NotTold(Exception):
    """A target was not told; the message says why and holds no part of an address or command that may be secret."""


class Target(Protocol):
    """Somebody to tell."""

    @property
    def key(self) -> str:
        """A digest: the same target has the same one in every worker."""

    @property
    def shown(self) -> str:
        """Its name without secrets."""

    def tell(self, event: Mapping[str, Any]) -> None:
        """Tell an event. Raises NotTold."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address that takes JSON by POST."""

    url: str = field(repr=False)
    shown: str
    authorization: str | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        return _key(self.url, self.authorization or "")

    def tell(self, event: Mapping[str, Any]) -> None:
        headers = {"Content-Type": "application/json", "User-Agent": f"cifarsweep/{__version__}"}
        headers |= {"Authorization": self.authorization} if self.authorization else {}
        request = urllib.request.Request(self.url, json.dumps(event).encode(), headers)  # noqa: S310 - http(s) only
        try:
            with urllib.request.build_opener(_NoRedirects).open(request, timeout=_ANSWER_S):
                return
        except urllib.error.HTTPError as error:
            error.close()
            raise NotTold(f"it answered {error.code}") from None
        except TimeoutError:
            raise NotTold(f"no answer within {_ANSWER_S:g} s") from None
        # Texts of other errors may repeat the address.
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            words = reason.strerror if isinstance(reason, OSError) else None
            raise NotTold(words or type(reason).__name__) from None
        except Exception as error:  # http.client has errors of its own
            raise NotTold(type(error).__name__) from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is sent on becomes a GET without its contents."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Command:
    """A command that reads JSON on its standard input."""

    arguments: Sequence[str] = field(repr=False)

    @property
    def key(self) -> str:
        return _key(*self.arguments)

    @property
    def shown(self) -> str:
        return f"the command {os.path.basename(self.arguments[0])}"

    def tell(self, event: Mapping[str, Any]) -> None:
        try:
            process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=without_database(),
                start_new_session=True,
            )
        except OSError as error:
            raise NotTold(error.strerror or "it does not start") from None
        try:
            process.communicate(json.dumps(event).encode() + b"\n", timeout=_COMMAND_S)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise NotTold(f"it did not end within {_COMMAND_S:g} s") from None
        if process.returncode:
            raise NotTold(f"it ended with exit code {process.returncode}")


@cache
def _key(*parts: str) -> str:
    # It stands in the database, so it is slow to compute: nobody is to find a short password by trying many.
    return hashlib.pbkdf2_hmac("sha256", "\0".join(parts).encode(), b"cifarsweep", 100_000, 8).hex()


def parse_targets(given: Sequence[str] | None) -> list[Target]:
    """Return those that `--notify` names, or else those of the variable. Raises SpecError, without what was given."""
    texts = given if given else os.environ.get(VARIABLE, "").splitlines()
    return [_parse(text.strip()) for text in texts if text.strip()]


def _parse(text: str) -> Target:
    if "://" in text.partition(" ")[0]:
        return _address(text)
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise SpecError(f"--notify: a command has {str(error).lower()}; write it as for a shell") from None
    if not arguments or shutil.which(arguments[0]) is None:
        name = arguments[0] if arguments else text
        raise SpecError(f"--notify: there is no command {name!r} here, and an address begins with https:// or http://")
    return Command(arguments)


def _address(text: str) -> Address:
    refused = SpecError("--notify: an address is https://HOST/... or http://HOST/..., without spaces; this one is not")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise refused from None
    if parts.scheme not in ("http", "https") or not host or not text.isascii() or not text.isprintable() or " " in text:
        raise refused
    place = f"[{host}]" if ":" in host else host
    place += f":{port}" if port else ""
    known = None
    if parts.username:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        known = f"Basic {base64.b64encode(pair.encode()).decode()}"
    url = urlunsplit((parts.scheme, place, parts.path or "/", parts.query, ""))
    return Address(url, f"{parts.scheme}://{place}", known)
