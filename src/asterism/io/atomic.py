"""Write a file wholly or not at all: a temporary file beside it, flushed to the disk, then renamed."""

import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asterism.errors import AsterismError, RequestError

# Some network and FUSE file systems cannot flush a folder; the rename itself is still atomic there.
_FOLDER_FLUSH_UNKNOWN = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """A temporary Path in the folder of `path`, with the same suffix; on success it becomes `path`.

    Whatever happens, `path` is either the old file, intact, or the new one, whole. The temporary's name
    begins with a dot. Raises RequestError where `path` cannot be a file, AsterismError where the system
    refuses a write (disk full, no permission); an exception of the body passes through.
    """
    path = _writable(Path(path))
    temporary = path.with_name(f".{path.stem[:100]}.{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise AsterismError(
                f"{path}: cannot be written ({error.strerror or error}); what was there before is unchanged"
            ) from error
        raise
    _flush_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` as UTF-8, line ends as they are. Names of files that are no UTF-8 keep their bytes."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="")


def write_json(path: str | Path, value: object) -> None:
    """Write `value` as JSON. ValueError where it holds NaN or infinity, which JSON does not know."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _writable(path: Path) -> Path:
    path = path.resolve()  # a link stays a link: what it points to is replaced
    if path.exists() and not path.is_file():
        raise RequestError(f"{path}: is a folder or a device; name a file to write to")
    if not path.parent.is_dir():
        raise RequestError(f"{path}: its folder does not exist; make it first: mkdir -p {path.parent}")
    return path


def _flush(path: Path) -> None:
    with open(path, "r+b") as file:  # Windows flushes only handles that may write
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Make the rename itself durable. Windows journals renames and opens no folders."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _FOLDER_FLUSH_UNKNOWN:
            raise AsterismError(f"{folder}: the disk did not confirm a write ({error.strerror})") from error
    finally:
        os.close(handle)
