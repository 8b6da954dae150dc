"""The location of all checkpoints: a folder, or a URL that several machines share. Imports no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifarsweep.checkpoints.folder import CheckpointFolder, Folder
from cifarsweep.errors import CheckpointError, CheckpointNotFound, LocationError, install_command

_FORMS = "Write a folder, file:///mnt/share or s3://bucket/prefix."
_LOCAL, _S3 = ("file", "local"), ("s3", "s3a")
#: Enough for a slow store, and short for a trial that waits for an absent one.
_TRIES = {"retries": {"mode": "standard", "max_attempts": 2}}


def parse_location(text: str) -> str:
    """Return the absolute path of a folder, or a URL without a slash at its end.

    Raises LocationError if it can't hold checkpoints. The message never repeats what may be a secret.
    """
    protocol, mark, rest = text.partition("://")
    if not text:
        raise LocationError(f"--artifacts is empty. {_FORMS}")
    if not mark:
        try:
            return str(Path(text).expanduser().absolute())
        except RuntimeError:
            raise LocationError(f"--artifacts {text}: there is no such home folder here; {_FORMS}") from None
    if protocol in _LOCAL:
        return _local_path(rest)
    _check_url(protocol, rest)
    return f"{protocol}://{rest.rstrip('/')}"


def open_folder(location: str) -> Folder:
    """Open a location that `parse_location` returned. Raises LocationError if a package is missing."""
    if not _is_url(location):
        return CheckpointFolder(Path(location))
    from cifarsweep.checkpoints.object_store import ObjectFolder

    return ObjectFolder(*_file_system(location), location)


def branches_of(location: str) -> str:
    """Return where a trial at this location keeps the checkpoints from which others begin.

    It is a location of its own: the removal of the trial's other checkpoints does not touch it.
    """
    return f"{location}-branches"


def check_protocol(location: str) -> None:
    """Raise LocationError if no package here speaks the protocol of the location. Does not connect to it."""
    if _is_url(location):
        import fsspec

        protocol = location.partition("://")[0]
        with _as_location_error(protocol):
            fsspec.get_filesystem_class(protocol)


def check_location(location: str) -> None:
    """Write, read and remove a small file. Raises LocationError if one of these fails.

    A folder that this creates stays: other workers may begin in it at the same moment.
    """
    try:
        folder = open_folder(location)
        ref = folder.write(0, b"cifarsweep checks that checkpoints can be kept here")
        folder.read(ref)
        folder.remove([ref.path])
    except (OSError, CheckpointError) as error:
        why = getattr(error, "strerror", None) or error
        raise LocationError(f"{location}: checkpoints can't be kept there ({why}); give another --artifacts") from error
    with contextlib.suppress(CheckpointNotFound):
        folder.read(ref)
        raise LocationError(f"{location}: files can't be removed there; allow that, or give another --artifacts")


def _is_url(location: str) -> bool:
    return "://" in location


def _local_path(rest: str) -> str:
    if not rest.startswith("/"):
        raise LocationError(f"file://{rest} names a machine, not a folder: write file:///{rest}")
    return str(Path(rest))


def _check_url(protocol: str, rest: str) -> None:
    """Raise LocationError for a URL with a password or of a wrong form."""
    if "@" in rest and ":" in rest.partition("@")[0]:
        raise LocationError(
            "the URL of --artifacts holds a password, which every process list would show. Leave it out and set what "
            f"the store's library reads: AWS_ACCESS_KEY_ID and so on for S3, FSSPEC_{protocol.upper()}_PASSWORD else"
        )
    if protocol == "memory":
        raise LocationError(f"memory:// is gone with the process, so nothing could go on from it. {_FORMS}")
    if "::" in protocol or "::" in rest:
        raise LocationError(f"--artifacts takes one plain URL, without `::`. {_FORMS}")
    if "?" in rest or "#" in rest:
        raise LocationError(f"--artifacts takes a URL without `?` and `#`. {_FORMS}")
    if not rest.partition("/")[0]:
        raise LocationError(f"{protocol}:// names no bucket or host. {_FORMS}")


def _file_system(location: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it."""
    import fsspec

    protocol = location.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in _S3:
        configured = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        options["config_kwargs"] = _TRIES | configured
    with _as_location_error(protocol):
        return fsspec.core.url_to_fs(location, **options)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _as_location_error(protocol: str) -> Iterator[None]:
    """Turn the errors of fsspec for an unknown protocol into LocationError."""
    try:
        yield
    except ImportError as error:
        package = install_command("s3") if protocol in _S3 else error
        raise LocationError(f"{protocol}:// needs a package that is not installed: {package}") from None
    except ValueError as error:
        raise LocationError(f"--artifacts: {error}. {_FORMS}") from None
