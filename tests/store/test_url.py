"""What a user hears who names a database that can't be used."""

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from scenes import make_study
from support.studies import count_open

from cifarsweep.errors import StoreError, StoreUnavailable
from cifarsweep.files import exists
from cifarsweep.store import Store
from cifarsweep.store.sqlite_file import check_file, file_system
from cifarsweep.store.url import parse_url, redacted

SECRET = "tr0ub4dor"


def refusal(url: str, **options: bool) -> str:
    with pytest.raises(StoreError) as caught:
        Store.open(url, **options).close()
    assert caught.value.exit_code == 2
    assert not isinstance(caught.value, StoreUnavailable)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["results.db", "", "sqlite", "://", "postgresql://user:pw@host:port/db", "sqlite:///a.db?mode=ro", "sqlite://"],
)
def test_what_is_no_url_is_refused_with_an_example(url: str) -> None:
    assert "sqlite:///file.db" in refusal(url, upgrade=True)


def test_other_databases_are_refused(tmp_path: Path) -> None:
    assert "'mysql' are not supported" in refusal("mysql://root@localhost/db")


def test_a_database_in_memory_is_refused() -> None:
    assert "plain file" in refusal("sqlite:///:memory:", upgrade=True)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    path = tmp_path / "none.db"

    assert "cifarsweep create" in refusal(f"sqlite:///{path}")
    assert not path.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert "folder does not exist" in refusal(f"sqlite:///{tmp_path}/none/results.db", upgrade=True)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    assert "is a folder" in refusal(f"sqlite:///{tmp_path}", upgrade=True)


def test_a_text_is_no_database_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Dear diary, " * 100)

    assert "not a database" in refusal(f"sqlite:///{path}", upgrade=True)
    assert path.read_text() == "Dear diary, " * 100


def test_a_database_of_somebody_else_has_no_studies(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as conn, conn:
        conn.execute("CREATE TABLE songs (title TEXT)")
    conn.close()

    assert "cifarsweep db upgrade" in refusal(f"sqlite:///{path}")


def test_an_unreachable_server_is_named_without_its_password() -> None:
    message = refusal(f"postgresql://ann:{SECRET}@127.0.0.1:1/results")

    assert "postgresql://ann@127.0.0.1:1/results" in message
    assert SECRET not in message


def test_a_server_that_refuses_is_not_called_out_of_reach(postgres: Callable[..., str]) -> None:
    stranger = refusal(postgres().replace("//postgres:@", "//nobody-here@"))
    elsewhere = refusal(postgres("nothing-here"))

    assert stranger.endswith('the server refuses: role "nobody-here" does not exist')
    assert elsewhere.endswith('the server refuses: database "nothing-here" does not exist')


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/results?password={SECRET}",
        f"postgresql://ann:x@{SECRET}@127.0.0.1:1/results",
        f"postgresql://ann:{SECRET}@127.0.0.1:99999999/results",
        f"postgresql://ann:{SECRET}@127.0.0.1:1/results?connect_timeout=soon",
        f"postgres//ann:{SECRET}@host",
        f"oracle://ann:{SECRET}@host/db",
    ],
)
def test_a_password_is_never_shown(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    message = refusal(url)

    captured = capfd.readouterr()
    assert SECRET not in message + captured.out + captured.err


def test_the_url_that_is_shown_has_no_options() -> None:
    assert redacted(parse_url(f"postgresql://h/db?sslpassword={SECRET}&sslmode=require")) == "postgresql://h/db"


MOUNTS = """\
/dev/vda / ext4 rw 0 0
filer:/home /home nfs4 rw 0 0
/dev/vdb /home/local xfs rw 0 0
//box/share /mnt/My\\040Share cifs rw 0 0
ann@box: /mnt/box fuse.sshfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/results.db", "ext4"),
        ("/homestead/results.db", "ext4"),
        ("/home/ann/results.db", "nfs4"),
        ("/home/local/results.db", "xfs"),
        ("/mnt/My Share/results.db", "cifs"),
        ("/mnt/box/results.db", "fuse.sshfs"),
    ],
)
def test_the_longest_mount_point_decides(path: str, kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)

    assert file_system(Path(path), mounts) == kind


@pytest.mark.parametrize("kind", ["nfs", "cifs", "9p", "lustre", "fuse.sshfs"])
def test_network_file_systems_are_refused_and_postgresql_is_named(kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(f"filer:/ / {kind} rw 0 0\n")

    with pytest.raises(StoreError, match=rf"network file system \({kind}\).*PostgreSQL"):
        check_file(tmp_path / "results.db", create=True, read_only=False, mounts=mounts)


def test_where_nobody_lists_mounts_nothing_is_refused(tmp_path: Path) -> None:
    check_file(tmp_path / "results.db", create=True, read_only=False, mounts=tmp_path / "no mounts")


AS_NOBODY = textwrap.dedent(
    """
    import os, sys
    from cifarsweep.errors import StoreError
    from cifarsweep.store import Store
    url = sys.argv[1]
    Store.open(url, read_only=True).close()
    if os.geteuid() == 0:  # who may write anywhere; but the libraries may lie where only root can read
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    with Store.open(url, read_only=True) as store:
        print("status:", store.studies.status("s")[0].study, len(store.trials.all("s")))
    try:
        Store.open(url)
    except StoreError as error:
        print("refused:", error.exit_code, error)
    """
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of this machine may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def test_a_read_only_file_is_readable_and_nothing_else(open_folder: Path) -> None:
    path, script = open_folder / "results.db", open_folder / "script.py"
    with Store.open(f"sqlite:///{path}", upgrade=True) as store:
        store.studies.create(make_study())
    script.write_text(AS_NOBODY)
    for file in open_folder.glob("results.db*"):
        # The journal too, which has the mode that the database had: who can't look into it may not read past it.
        file.chmod(0o444)
    open_folder.chmod(0o555)

    done = run_script(script, f"sqlite:///{path}")

    assert done.stdout.startswith("status: s 6\nrefused: 2 "), done.stderr
    assert "is read-only" in done.stdout


def test_a_path_through_a_file_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert "folder does not exist" in refusal(f"sqlite:///{tmp_path}/file/results.db", upgrade=True)


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    assert "can't be accessed" in refusal(f"sqlite:///{tmp_path}/{'x' * 300}.db", upgrade=True)


@pytest.mark.parametrize("name", ["q?x.db", "p%41x.db", "~x.db", "a#b.db", "f \N{SNOWMAN}.db"])
def test_a_path_is_the_file_of_that_name_and_its_url_can_be_given_again(tmp_path: Path, name: str) -> None:
    with Store.open(tmp_path / name, upgrade=True) as store:
        store.studies.create(make_study())
        url = store.shown_url

    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith("-journal")] == [name]
    with Store.open(url, read_only=True) as store:
        assert count_open(store) == 6


def test_a_question_mark_in_a_url_is_refused_before_another_file_is_made(tmp_path: Path) -> None:
    assert "with a '?' in its name as %3F" in refusal(f"sqlite:///{tmp_path}/q?x.db", upgrade=True)

    assert list(tmp_path.iterdir()) == []


def test_a_database_of_another_program_whose_tables_would_clash_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TABLE studies (id INTEGER, title TEXT)")
    before = path.read_bytes()

    assert "holds a table 'studies' of another program" in refusal(f"sqlite:///{path}", upgrade=True)

    assert path.read_bytes() == before


def run_script(script: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(Path.cwd())})


def test_whether_a_path_leads_anywhere_is_told_alike_on_every_python(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")

    assert exists(tmp_path / "file") and exists(tmp_path)
    assert not any(exists(tmp_path / name) for name in ("absent", "file/below", "nul\0"))
    for name in ("x" * 300, "loop"):
        with pytest.raises(OSError):
            exists(tmp_path / name)
