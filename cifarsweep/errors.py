"""Every error that cifarsweep raises on purpose.

A message says what was wrong, where, and what to do next. The command line prints it as it stands, without a
traceback, and exits with `exit_code`.
"""


class CifarsweepError(Exception):
    """Root of the tree; anything else that reaches a user is a bug."""

    exit_code = 2


class SpecError(CifarsweepError):
    """A study file, a setting or a name is not valid."""


class StudyExists(SpecError):
    """A study of that name holds other contents."""


class UnknownStudy(SpecError):
    """No study of that name is known."""


class DataError(CifarsweepError):
    """A data set is absent, damaged or hostile."""


class DataUnusable(DataError):
    """The images of a trial are not available right now, which is no fault of the trial."""


class CodeUnusable(DataUnusable):
    """The user's own code of a study is not here, or is another, which is no fault of a trial."""


class TooFewGpus(DataError):
    """A trial of a study trains on more GPUs than this worker has."""


class StudyRefused(DataError):
    """A study's trials train on other images than this machine has, or these were not checked yet."""

    def __init__(self, study: str, dataset: str, message: str) -> None:
        super().__init__(message)
        self.study, self.dataset = study, dataset


class DeviceError(CifarsweepError):
    """The device that was asked for is not here."""


class CheckpointError(CifarsweepError):
    """A checkpoint is absent, damaged or of another trial."""


class CheckpointNotFound(CheckpointError):
    """There is no such checkpoint in the places that this machine can see."""


class LocationError(CifarsweepError):
    """The location of checkpoints can't be used."""


class StoreError(CifarsweepError):
    """The database can't be used as it is."""


class RowConflict(StoreError):
    """Rows of another writer keep ours from being written."""


class StoreUnavailable(StoreError):
    """The database can't be reached or is busy; a later try may succeed."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class DiskFull(StoreUnavailable):
    """The disk of the database is full."""


class UnreadableStudy(StoreError):
    """The rows of one study can't be read by this version, or are invalid; other studies are as they were."""

    def __init__(self, study: str, sentence: str) -> None:
        super().__init__(sentence)
        self.study = study


class OutputError(CifarsweepError):
    """An output file can't be written."""


class NothingYet(OutputError):
    """A study has no figure or table to write yet."""


class DashboardError(CifarsweepError):
    """The dashboard can't be served as asked."""


class LeaseLost(CifarsweepError):
    """The worker no longer holds the trial's lease, and may write nothing more for it."""


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra. It names each, since no index has cifarsweep."""
    import shlex
    from importlib.metadata import requires

    lines = [line.partition(";") for line in requires("cifarsweep") or ()]
    packages = [name.strip() for name, _, marker in lines if f"extra == '{extra}'" in marker.replace('"', "'")]
    return shlex.join(["pip", "install", *packages])
