"""The directory in which the nodes of one user find each other's sockets, and who is at the other end of one."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import tempfile
from pathlib import Path

LONGEST = 99  # bytes of a path; the kernel's own limit is 104 or 108
SUFFIX = ".sock"


def private_directory(parent: str | None = None) -> Path:
    """This user's directory for sockets, made when there is none. Raises `OSError` when others could enter it.

    The same for all processes of one user that share a temporary directory. `parent` replaces the latter.
    """
    directory = Path(parent or tempfile.gettempdir()) / f"lightmoon-{os.getuid()}"
    if len(bytes(directory)) + len(f"/{2**63:x}.{2**22}{SUFFIX}") > LONGEST:
        directory = Path(f"/tmp/lightmoon-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{directory} must be a directory that belongs to user {os.getuid()} and that nobody else can enter. "
            "Remove it, or set its mode to 0700."
        )
    return directory


def socket_path(directory: Path, incarnation: int) -> Path:
    """Where this process's node of that incarnation listens. Raises `OSError` when the path would be too long."""
    path = directory / f"{incarnation:016x}.{os.getpid()}{SUFFIX}"
    if len(bytes(path)) > LONGEST:
        raise OSError(f"{path} is too long for the address of a socket: at most {LONGEST} bytes.")
    return path


def remove_stale(directory: Path) -> None:
    """Remove the sockets of processes that are gone."""
    for path in directory.glob(f"*{SUFFIX}"):
        pid = path.name.removesuffix(SUFFIX).rpartition(".")[2]
        # A process in another container has a pid that means nothing here; but its socket still answers.
        if pid.isdecimal() and not _runs(int(pid)) and not _answers(path):
            path.unlink(missing_ok=True)


def listen(path: Path) -> socket.socket:
    """A listening socket there that only this user can connect to."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        path.chmod(0o600)  # nobody else could enter the directory in between
        listening.listen(1024)
    except BaseException:
        listening.close()
        raise
    return listening


def peer_uid(fd: int) -> int | None:
    """The user at the other end of a connected Unix socket; None where the system doesn't tell."""
    if hasattr(socket, "SO_PEERCRED"):
        level, option, layout = socket.SOL_SOCKET, socket.SO_PEERCRED, "3i"  # pid, uid, gid
    elif hasattr(socket, "LOCAL_PEERCRED"):
        level, option, layout = 0, socket.LOCAL_PEERCRED, "2I"  # version, uid, and groups that don't matter
    else:
        return None
    with socket.fromfd(fd, socket.AF_UNIX, socket.SOCK_STREAM) as connected:
        found = connected.getsockopt(level, option, 128)
    return int(struct.unpack_from(layout, found)[1])


def is_own(fd: int) -> bool:
    """Whether the other end belongs to this user, as far as the system tells; else the modes must do."""
    try:
        uid = peer_uid(fd)
    except OSError:  # it has hung up, or this process has as many files open as it may
        return False
    return uid is None or uid == os.getuid()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
        return True
