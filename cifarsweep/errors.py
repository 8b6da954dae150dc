"""Every error that cifarsweep raises on purpose.

A message says what was wrong, where, and what to do next, and is complete as it stands: the command line prints it
and exits with `exit_code`, without a traceback.
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
    """The images that a trial was to train on can't be had right now, which is no fault of the trial."""


class StudyRefused(DataError):
    """A study's trials train on other images than this machine has, or nobody has looked at those yet."""

    def __init__(self, study: str, dataset: str, message: str) -> None:
        super().__init__(message)
        self.study, self.dataset = study, dataset


class DeviceError(CifarsweepError):
    """The device that was asked for is not here."""


class CheckpointError(CifarsweepError):
    """A checkpoint is absent, damaged or of another trial."""


class CheckpointUnseen(CheckpointError):
    """There is no such checkpoint in the places that this machine can see."""


class PlaceError(CifarsweepError):
    """The place where checkpoints should go can't be used."""


class StoreError(CifarsweepError):
    """The database can't be used as it is."""


class RowConflict(StoreError):
    """Rows that somebody wrote there keep ours from being written."""


class StoreUnavailable(StoreError):
    """The database can't be reached or is busy; trying again later may help."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed later


class UnreadableStudy(StoreError):
    """The rows of one study hold what this version can't read, or nobody should; other studies are as they were."""

    def __init__(self, study: str, sentence: str) -> None:
        super().__init__(sentence)
        self.study = study


class OutputError(CifarsweepError):
    """A file that was asked for can't be written."""


class DashboardError(CifarsweepError):
    """The dashboard can't be served as asked."""


class LeaseLost(CifarsweepError):
    """Another worker owns the trial now, or nobody does: nothing more may be written for it."""


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra. It names them itself, for no index has cifarsweep."""
    import shlex
    from importlib.metadata import requires

    lines = [line.partition(";") for line in requires("cifarsweep") or ()]
    packages = [name.strip() for name, _, marker in lines if f"extra == '{extra}'" in marker.replace('"', "'")]
    return shlex.join(["pip", "install", *packages])
