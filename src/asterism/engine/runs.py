"""A run folder: run.json, log.jsonl, last/, best/ and pictures. A run killed at any moment can go on."""

import contextlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

import asterism
from asterism.errors import RequestError
from asterism.io.atomic import write_json, write_text

_RUN, _LOG = "run.json", "log.jsonl"
VIEW_FILE = "view.npz"  # engine.view writes it


class Run:
    """The folder of one training.

    run.json holds what was asked for and what it was given: method, resolved config and recipe, view (how
    pictures are looked at), data with fingerprint and split, seed, versions, command. log.jsonl has one JSON
    object per line. last/ resumes, best/ predicts; both are weights folders (engine.weights).
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def last(self) -> Path:
        return self.folder / "last"

    @property
    def best(self) -> Path:
        return self.folder / "best"

    def exists(self) -> bool:
        return (self.folder / _RUN).is_file()

    def start(self, info: Mapping[str, Any]) -> None:
        """Make the folder and write run.json: `info` and the versions, the machine and the command.

        Raises RequestError when there is a run already, or a file, or other things, in its place.
        """
        if self.exists():
            raise RequestError(
                f"{self.folder}: holds a run already; go on with --resume, or name another folder with -o"
            )
        if self.folder.is_file() or (self.folder.is_dir() and any(self.folder.iterdir())):
            raise RequestError(f"{self.folder}: is not an empty folder; name another one with -o")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(
                f"{self.folder}: cannot be made ({error.strerror}); name another one"
            ) from error
        write_json(self.folder / _RUN, {**info, "made_with": made_with(), "command": sys.argv})

    def remove_start(self, folder_too: bool) -> None:
        """Take away what a run wrote that ended before its first checkpoint; other files stay."""
        for name in (_RUN, _LOG, VIEW_FILE):
            (self.folder / name).unlink(missing_ok=True)
        if folder_too:
            with contextlib.suppress(OSError):  # somebody else's files are in it
                self.folder.rmdir()

    def info(self) -> dict[str, Any]:
        """run.json. Raises RequestError when this is no run, or run.json is damaged."""
        path = self.folder / _RUN
        if not path.is_file():
            raise RequestError(
                f"{self.folder}: is no run (no {_RUN} in it); wanted the folder given to train -o"
            )
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise RequestError(f"{path}: is damaged: {error}") from error

    def log(self, line: Mapping[str, Any]) -> None:
        """Append one line. Non-finite numbers are written as null: JSON has no word for them."""
        with open(self.folder / _LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(_finite(dict(line)), allow_nan=False) + "\n")

    def lines(self) -> Iterator[dict[str, Any]]:
        """The log. A last line cut short by a kill is left out."""
        path = self.folder / _LOG
        if not path.is_file():
            return
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.endswith("\n"):
                    yield json.loads(line)

    def rewind(self, step: int) -> None:
        """Drop log lines beyond `step`: the steps that a kill undid are taken again."""
        kept = [line for line in self.lines() if line.get("step", 0) <= step]
        write_text(self.folder / _LOG, "".join(json.dumps(line) + "\n" for line in kept))


def made_with() -> dict[str, Any]:
    """Versions and machine, for the record."""
    return {
        "asterism": asterism.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "platform": platform.platform(),
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
