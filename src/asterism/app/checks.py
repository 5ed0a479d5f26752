"""Is the request possible? Asked before any work starts, so that nothing is left half-written."""

import math
import os
from pathlib import Path

from asterism.errors import RequestError


def positive(option: str, value: float | int | None, largest: float | int = math.inf) -> None:
    """Raises RequestError unless `value` is None or a finite number above zero and at most `largest`."""
    if value is None:
        return
    if not math.isfinite(value) or value <= 0:
        raise RequestError(f"{option} {value}: wanted a number above zero, such as {option} 5")
    if value > largest:
        raise RequestError(f"{option} {value}: the largest allowed is {largest:g}")


def seed(value: int) -> None:
    """Raises RequestError unless torch and numpy both take the seed."""
    if not 0 <= value < 2**63:
        raise RequestError(f"--seed {value}: wanted a whole number from 0 to 2^63 - 1, such as --seed 0")


def new_run(run: Path | None, otherwise: str, resume: bool = False) -> Path:
    """The run folder to write: the one asked for, or the first free of runs/NAME, runs/NAME-2, ...

    Raises RequestError where the folder holds a run already (unless it is to be resumed), holds other
    files, is a file, or cannot be written.
    """
    if run is None:
        if resume:
            raise RequestError("--resume: which run? Name its folder: -o RUN --resume")
        run, n = Path("runs") / otherwise, 1
        while run.exists():
            n += 1
            run = Path("runs") / f"{otherwise}-{n}"
    is_run = (run / "run.json").is_file()
    if run.exists() and not run.is_dir():
        raise RequestError(f"-o {run}: this is a file; name a folder for the run")
    if resume and not is_run:
        raise RequestError(
            f"-o {run} --resume: there is no run in this folder; leave out --resume to start one"
        )
    if is_run and not resume:
        raise RequestError(
            f"-o {run}: holds a run already; name another folder (train goes on with --resume)"
        )
    if not is_run and run.is_dir() and any(run.iterdir()):
        raise RequestError(f"-o {run}: this folder holds other files; name a new or an empty folder")
    writable("-o", run)
    return run


def writable(option: str, path: Path) -> None:
    """Raises RequestError where `path` could not be made: its nearest existing folder cannot be written."""
    nearest = path.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() and nearest != path.absolute():
        raise RequestError(f"{option} {path}: {nearest} is a file, not a folder")
    if not os.access(nearest, os.W_OK):
        raise RequestError(f"{option} {path}: no permission to write in {nearest}")


def new_file(option: str, path: Path) -> None:
    """Raises RequestError where `path` is a folder, or its folder is absent or cannot be written."""
    if path.is_dir():
        raise RequestError(f"{option} {path}: this is a folder; name a file")
    if not path.absolute().parent.is_dir():
        raise RequestError(
            f"{option} {path}: there is no folder {path.parent}; make it, or name another file"
        )
    writable(option, path)


def new_folder(option: str, path: Path) -> None:
    """Raises RequestError where `path` is a file or could not be made."""
    if path.exists() and not path.is_dir():
        raise RequestError(f"{option} {path}: this is a file; name a folder")
    writable(option, path)


def existing_run(run: str) -> Path:
    """The run folder. Raises RequestError where there is none."""
    folder = Path(run)
    if not (folder / "run.json").is_file():
        made = "make one with: asterism train METHOD DATA -o RUN, or: asterism discover CLIP -k 8 -o RUN"
        raise RequestError(f"{run}: {'no run.json in it' if folder.exists() else 'no such folder'}; {made}")
    return folder
