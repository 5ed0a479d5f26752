"""Say what is installed, what is broken, and what to type."""

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from asterism.app import show

_CORE = ("torch", "numpy", "scipy", "PIL", "safetensors", "tqdm", "einops", "jaxtyping", "tyro")
_DISTRIBUTION = {"PIL": "pillow", "av": "av", "cv2": "opencv-python-headless"}
_EXTRAS = {
    "av": ("video", "clips such as mp4 and avi"),
    "h5py": ("sleap", "labels and predictions in .slp"),
    "cv2": ("boards", "corners of calibration boards in pictures"),
}
_LEAST_TORCH = (2, 10)  # below it, reading a damaged checkpoint may corrupt memory (CVE-2026-24747)
_LEAST_DISK = 2**30  # a run with its checkpoints and pictures fits in one GiB


@dataclass(frozen=True)
class Args:
    json: bool = False  # print one JSON object


@dataclass(frozen=True)
class Finding:
    """One line of the answer. state: ok, note (something optional) or broken; `cure` is what to type."""

    what: str
    state: str
    words: str
    cure: str = ""


def run(args: Args) -> int:
    findings = [_python(), *map(_core, _CORE), _device(), *map(_extra, _EXTRAS), *_torchvision()]
    findings += [
        _package(),
        _folder("this folder", Path.cwd()),
        _folder("the temporary folder", _temporary()),
    ]
    works = all(f.state != "broken" for f in findings)
    if args.json:
        print(show.as_json({"works": works, "findings": [asdict(f) for f in findings]}))
    else:
        for f in findings:
            print(f"{f.state:<7} {f.what}: {f.words}" + (f"\n        type: {f.cure}" if f.cure else ""))
        print(
            "\nasterism works here."
            if works
            else "\nasterism does not work here: see the lines marked broken."
        )
    return 0 if works else 1


def _python() -> Finding:
    words = f"{platform.python_version()} at {sys.executable} on {platform.platform(terse=True)}"
    return Finding("python", "ok", words)


def _core(module: str) -> Finding:
    package = _DISTRIBUTION.get(module, module)
    cure = f"python -m pip install --upgrade --force-reinstall {package}"
    try:
        importlib.import_module(module)
        version = importlib.metadata.version(package)
    except Exception as error:  # an installed package can fail in any way when it is imported
        return Finding(package, "broken", f"{type(error).__name__}: {error}", cure)
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2])
    if module == "torch" and numbers < _LEAST_TORCH:
        return Finding(
            package, "broken", f"{version}; 2.10 or newer is wanted", 'pip install -U "torch>=2.10"'
        )
    return Finding(package, "ok", version)


def _device() -> Finding:
    try:
        import torch
    except Exception as error:
        return Finding("device", "broken", f"unknown, torch does not import: {error}")
    words = f"CPU with {torch.get_num_threads()} threads of {os.cpu_count()} cores"
    if torch.cuda.is_available():
        cards = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("device", "ok", f"{cards} (CUDA {torch.version.cuda}); {words}")
    if torch.version.cuda:
        return Finding("device", "note", f"{words}; torch has CUDA {torch.version.cuda} but finds no card")
    return Finding("device", "ok", f"{words}; this torch is built without CUDA")


def _extra(module: str) -> Finding:
    extra, purpose = _EXTRAS[module]
    package = _DISTRIBUTION.get(module, module)
    cure = f'pip install "asterism[{extra}]"'
    if importlib.util.find_spec(module) is None:
        return Finding(package, "note", f"not installed; needed for {purpose}", cure)
    try:
        importlib.import_module(module)
    except Exception as error:
        words = f"installed but fails ({type(error).__name__}: {error}); needed for {purpose}"
        return Finding(package, "note", words, cure)
    return Finding(package, "ok", f"{importlib.metadata.version(package)}, for {purpose}")


def _torchvision() -> list[Finding]:
    """A torchvision built for another torch is common, and breaks the packages that import it; not us."""
    if importlib.util.find_spec("torchvision") is None:
        return []
    try:
        importlib.import_module("torchvision")
    except Exception as error:
        words = (
            f"installed beside us but broken ({type(error).__name__}: {error}); harmless: we never import it"
        )
        return [Finding("torchvision", "note", words, "pip uninstall torchvision")]
    return [Finding("torchvision", "ok", "installed; not used by asterism")]


def _package() -> Finding:
    from asterism import catalogue

    broken = []
    for name in catalogue.entries():
        try:
            catalogue.method_class(name)
        except Exception as error:
            broken.append(f"{name} ({type(error).__name__}: {error})")
    if broken:
        cure = "python -m pip install --force-reinstall asterism"
        return Finding("methods", "broken", "cannot be imported: " + "; ".join(broken), cure)
    return Finding("methods", "ok", f"{len(catalogue.entries())} import")


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # nowhere to write
        return Path("/tmp")


def _folder(what: str, folder: Path) -> Finding:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding(
            what, "note", f"{folder} cannot be written ({error.strerror})", f"chmod u+w '{folder}'"
        )
    words = f"{folder} can be written, {free / 2**30:.1f} GiB free"
    return Finding(what, "ok" if free >= _LEAST_DISK else "note", words)
