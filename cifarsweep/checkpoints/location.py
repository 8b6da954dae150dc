"""Where the checkpoints of all trials go: a folder, or a URL that several machines share. No torch in here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cifarsweep.checkpoints.folder import CheckpointFolder, Folder
from cifarsweep.errors import CheckpointError, CheckpointUnseen, PlaceError, install_command

_FORMS = "Write a folder, file:///mnt/share or s3://bucket/prefix."
_LOCAL, _S3 = ("file", "local"), ("s3", "s3a")
#: Long enough for a store that is slow, short enough for a trial that waits for one that is away.
_TRIES = {"retries": {"mode": "standard", "max_attempts": 2}}


def parse_place(text: str) -> str:
    """The absolute path of a folder, or a URL without a slash at its end.

    Raises PlaceError for what can't hold checkpoints; it never repeats what may be a secret.
    """
    protocol, mark, rest = text.partition("://")
    if not text:
        raise PlaceError(f"--artifacts is empty. {_FORMS}")
    if not mark:
        try:
            return str(Path(text).expanduser().absolute())
        except RuntimeError:
            raise PlaceError(f"--artifacts {text}: nobody of that name has a home folder here; {_FORMS}") from None
    if protocol in _LOCAL:
        return _local_path(rest)
    _check_url(protocol, rest)
    return f"{protocol}://{rest.rstrip('/')}"


def open_folder(place: str) -> Folder:
    """The checkpoints below a place that `parse_place` returned. Raises PlaceError where a package is missing."""
    if not _is_url(place):
        return CheckpointFolder(Path(place))
    from cifarsweep.checkpoints.object_store import ObjectFolder

    return ObjectFolder(*_file_system(place), place)


def check_protocol(place: str) -> None:
    """Raise PlaceError where no package here speaks the protocol of the place, without touching the place."""
    if _is_url(place):
        import fsspec

        protocol = place.partition("://")[0]
        with _explained(protocol):
            fsspec.get_filesystem_class(protocol)


def check_place(place: str) -> None:
    """Write, read and remove a small file. Raises PlaceError where one of these fails.

    A folder that was not there stays: other workers may begin in it at the same moment.
    """
    folder = open_folder(place)
    try:
        ref = folder.write(0, b"cifarsweep looks whether checkpoints can be kept here")
        folder.read(ref)
        folder.remove([ref.path])
    except (OSError, CheckpointError) as error:
        why = getattr(error, "strerror", None) or error
        raise PlaceError(f"{place}: checkpoints can't be kept there ({why}); give another --artifacts") from error
    with contextlib.suppress(CheckpointUnseen):
        folder.read(ref)
        raise PlaceError(f"{place}: files can't be removed there; allow that, or give another --artifacts")


def _is_url(place: str) -> bool:
    return "://" in place


def _local_path(rest: str) -> str:
    if not rest.startswith("/"):
        raise PlaceError(f"file://{rest} names a machine, not a folder: write file:///{rest}")
    return str(Path(rest))


def _check_url(protocol: str, rest: str) -> None:
    """Raise PlaceError for a URL that can't be right."""
    if "@" in rest and ":" in rest.partition("@")[0]:
        raise PlaceError(
            "the URL of --artifacts holds a password, which every process list would show. Leave it out and set what "
            f"the store's library reads: AWS_ACCESS_KEY_ID and so on for S3, FSSPEC_{protocol.upper()}_PASSWORD else"
        )
    if protocol == "memory":
        raise PlaceError(f"memory:// is gone with the process that wrote it, so nothing could go on from it. {_FORMS}")
    if "::" in protocol or "::" in rest:
        raise PlaceError(f"--artifacts takes one plain URL, without `::`. {_FORMS}")
    if "?" in rest or "#" in rest:
        raise PlaceError(f"--artifacts takes a URL without `?` and `#`. {_FORMS}")
    if not rest.partition("/")[0]:
        raise PlaceError(f"{protocol}:// names no bucket or host. {_FORMS}")


def _file_system(place: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec

    protocol = place.partition("://")[0]
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol in _S3:
        configured = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
        options["config_kwargs"] = _TRIES | configured
    with _explained(protocol):
        return fsspec.core.url_to_fs(place, **options)  # type: ignore[no-any-return]


@contextlib.contextmanager
def _explained(protocol: str) -> Iterator[None]:
    """Raise PlaceError for what fsspec says of a protocol that nothing here speaks."""
    try:
        yield
    except ImportError as error:
        package = install_command("s3") if protocol in _S3 else error
        raise PlaceError(f"{protocol}:// needs a package that is not installed: {package}") from None
    except ValueError as error:
        raise PlaceError(f"--artifacts: {error}. {_FORMS}") from None
