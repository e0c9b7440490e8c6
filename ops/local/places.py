"""Where the private servers stand, and as whom PostgreSQL runs where we are root."""

import hashlib
import os
import pwd
import shutil
import stat
from pathlib import Path

from ops.local.errors import LocalServerError

PROJECT = Path(__file__).resolve().parents[2]

# PostgreSQL refuses to run as root. This user exists everywhere and may do nothing.
SUBSTITUTE = "nobody"


def default_root() -> Path:
    """Gives the folder of all stacks: the project's git-ignored `.local/`.

    One case is different: root's project in a closed place, such as root's own home, to which the
    user that PostgreSQL then runs as has no way. There it is a folder in `/var/tmp`.

    Raises:
        LocalServerError: Somebody else made a folder of that name.
    """
    if os.geteuid() != 0 or open_to_all(PROJECT):
        return PROJECT / ".local"
    digest = hashlib.sha256(str(PROJECT).encode()).hexdigest()[:12]
    root = Path("/var/tmp") / f"payouts-{digest}"  # noqa: S108 - Its owner is checked below.
    root.mkdir(mode=0o755, exist_ok=True)
    found = root.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & 0o022:
        raise LocalServerError(f"{root} is not root's own folder; remove it.")
    return root


def substitute() -> pwd.struct_passwd | None:
    """Gives the user as whom PostgreSQL runs; None where it can run as we do."""
    return pwd.getpwnam(SUBSTITUTE) if os.geteuid() == 0 else None


def check_open(root: Path) -> None:
    """Refuses a folder in which PostgreSQL could not run.

    Raises:
        LocalServerError: Its user has no way there.
    """
    user = substitute()
    if user is not None and not open_to_all(root):
        raise LocalServerError(f"{root} is closed to the user {user.pw_name}.")


def open_to_all(path: Path) -> bool:
    """Says whether every user has a way to this place and may read or run what is there."""
    return bool(path.stat().st_mode & stat.S_IROTH) and all(
        place.stat().st_mode & stat.S_IXOTH for place in (path, *path.parents)
    )


def open_copy(package: Path, root: Path) -> Path:
    """Gives a copy of an installed package that every user may run; made once, kept in `root`.

    The folder `NAME.libs` beside it, with the libraries that it brings, is copied with it.
    """
    changed = int((package / "__init__.py").stat().st_mtime)
    place = root / f"{package.name}-{changed}"
    if not place.exists():
        fresh = root / f"{place.name}.{os.getpid()}"
        for source in (package, package.with_name(f"{package.name}.libs")):
            if source.exists():
                shutil.copytree(source, fresh / source.name)
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
        fresh.rename(place)
    return place / package.name
