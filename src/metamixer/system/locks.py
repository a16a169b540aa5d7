"""Locks of files and folders, where the system has them."""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ..errors import InputError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_ALONE = threading.RLock()


def lock(file: int | IO, *, wait: bool = False) -> bool:
    """Take a file's lock; False where there are no locks. Raises BlockingIOError if somebody has it, unless `wait`."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:  # a file system without locks
        return False
    return True


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one thread of one process at a time read a file, change it and write it; the lock is `path` + `.lock`."""
    with _ALONE, open(f"{path}.lock", "a") as file:
        lock(file, wait=True)
        yield


@contextmanager
def held(folder: Path, *, use: tuple[str, str]) -> Iterator[None]:
    """Hold a folder for this process, which makes it where there is none; raises InputError while another holds it.

    use: what is done there, a verb and its noun such as ("trains", "run"). A record lock ends with its process and
    isn't inherited: workers may outlive a killed process for seconds. Systems without such locks have none.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = "is a file" if folder.is_file() else f"can't be made ({error.strerror})"
        raise InputError(f"out {folder}: {why}, expected another folder") from None
    with (folder / ".lock").open("a+") as file:
        try:
            if fcntl:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            file.seek(0)
            raise InputError(
                f"out {folder}: {file.read().strip() or 'another process'} {use[0]} there, expected another folder, or "
                f"that {use[1]} to end first"
            ) from None
        except OSError:  # a file system without locks
            pass
        file.truncate(0)
        print(f"process {os.getpid()} on {socket.gethostname()}", file=file, flush=True)
        yield
