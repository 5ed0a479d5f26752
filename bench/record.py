"""What every measurement writes: the figures with date, commit, machine, seeds and command."""

import datetime
import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent


def commit() -> str:
    """The commit that was measured, marked when files of the package differ from it."""
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "src"], capture_output=True, text=True, check=True
    )
    return head.stdout.strip() + ("+changes" if dirty.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """The processor, its cores, and the versions that move a figure."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.processor(),
    )
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def command() -> str:
    """What was typed."""
    return "python " + " ".join(sys.argv)


def write(
    name: str, figures: dict[str, Any], *, seeds: list[int], note: str = "", quiet: bool = False
) -> None:
    """bench/NAME.json."""
    about = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "machine": machine(),
        "command": command(),
        "seeds": seeds,
        "note": note,
    }
    path = HERE / f"{name}.json"
    path.write_text(json.dumps({**about, "figures": figures}, indent=1) + "\n")
    if not quiet:
        print(json.dumps(figures, indent=1))
    print(f"written: {path}")


def asterism(*words: str) -> dict[str, Any]:
    """One command of the product with --json; its answer."""
    told = [str(Path(sys.executable).parent / "asterism"), *words, "--json"]
    done = subprocess.run(told, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)
