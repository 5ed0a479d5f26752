"""The house's rules that no other tool checks: side effects, sizes, names, literals."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asterism

SOURCE = Path(asterism.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
MODULES = [
    ".".join(("asterism", *f.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for f in FILES
]
TREES = {f: ast.parse(f.read_text(encoding="utf-8")) for f in FILES}
MOST_LINES, MOST_LINES_OF_A_METHOD, MOST_LINES_OF_A_FUNCTION = 400, 500, 60
HEAVY = [
    "torchvision",
    "timm",
    "cv2",
    "matplotlib",
    "pandas",
    "skimage",
    "pycocotools",
    "av",
    "pytest",
    "beartype",
]


def where(file, node):
    return f"{file.relative_to(SOURCE)}:{node.lineno}"


# Every module in one fresh process, watched: what it prints, seeds, opens for writing, connects to, or sets.
WATCH = """
import importlib, json, os, random, sys, warnings
warnings.simplefilter("error")
import numpy, torch

def state():
    dice = torch.get_rng_state().sum().item(), random.getstate(), int(numpy.random.get_state()[1].sum())
    return {
        "a random state": (torch.initial_seed(), *dice),
        "torch's settings": (torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()),
        "the environment": dict(os.environ),
        "the GPU": torch.cuda.is_initialized(),
    }

told, module = [], ""
def hook(event, args):
    if event in ("socket.connect", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename"):
        told.append(f"{module}: {event} {args[:1]}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        told.append(f"{module}: opens {args[0]} to write")

sys.addaudithook(hook)
before = state()
for module in json.loads(sys.argv[1]):
    try:
        importlib.import_module(module)
    except Exception as error:
        told.append(f"{module}: {type(error).__name__}: {error}")
    now = state()
    told += [f"{module}: changes {what}" for what in now if now[what] != before[what]]
    before = now
print(json.dumps({"told": told, "heavy": [name for name in json.loads(sys.argv[2]) if name in sys.modules]}))
"""


def watched(modules):
    command = [sys.executable, "-B", "-c", WATCH, json.dumps(modules), json.dumps(HEAVY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    assert done.stdout.count("\n") == 1, f"importing prints: {done.stdout}"
    return json.loads(done.stdout)


def test_importing_has_no_side_effects_and_loads_nothing_heavy():
    assert watched(MODULES) == {"told": [], "heavy": []}


def test_the_watch_sees_what_it_looks_for(tmp_path, monkeypatch):
    (tmp_path / "rude.py").write_text(
        "import torch, cProfile; torch.manual_seed(7); open('left', 'w').close()"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    told = " ".join(watched(["rude"])["told"])
    assert "opens left" in told and "random state" in told


def test_every_module_imports_by_itself():
    """In the reverse order, too: no module leans on another having been imported before it."""
    assert watched(MODULES[::-1])["told"] == []


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_files_and_functions_are_short(file):
    cap = MOST_LINES_OF_A_METHOD if "methods" in file.relative_to(SOURCE).parts else MOST_LINES
    lines = file.read_text(encoding="utf-8").count("\n")
    assert lines <= cap, f"{file.relative_to(SOURCE)} has {lines} lines, the most is {cap}: split it"
    long = [
        f"{where(file, n)} {n.name}: {n.end_lineno - n.lineno + 1} lines"
        for n in ast.walk(TREES[file])
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))
        and n.end_lineno - n.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    ]
    assert not long, f"over {MOST_LINES_OF_A_FUNCTION} lines: {long}"


def test_every_file_says_what_it_is():
    assert [str(f) for f in FILES if not ast.get_docstring(TREES[f])] == []


def test_public_functions_take_no_bags_of_keywords():
    found = [
        f"{where(f, n)} {n.name}"
        for f in FILES
        for n in ast.walk(TREES[f])
        if isinstance(n, ast.FunctionDef) and n.args.kwarg and not n.name.startswith("_")
    ]
    assert found == []


def test_there_is_no_drawer_for_odds_and_ends():
    assert [str(f) for f in FILES if re.search(r"\b(utils?|helpers?|misc|common)\b", f.stem)] == []


PATTERNS = {  # what no line of the source may hold, and in which files it may after all
    r"\bTODO\b|\bFIXME\b|\bXXX\b": (),
    r"\bimport pickle\b|\bfrom pickle\b|allow_pickle=True|weights_only=False": (),
    r"\beval\(\s*[\"']|\bexec\(": (),
    r"align_corners\s*=": ("geometry/coords.py", "ops/sampling.py"),
    r"import (torchvision|timm|matplotlib|pandas)\b|from (torchvision|timm|matplotlib|pandas)\b": (),
    r"import cv2\b|from cv2\b": ("io/board_opencv.py",),
    r"\b(urllib\.request|requests\.get|http\.client|urlretrieve|hub\.load)\b": (),
    r"strict=False": (),
    r"manual_seed\(": ("engine/", "data/"),
    r"\bprint\(": ("app/", "engine/"),
    r"os\.environ|getenv\(": ("app/", "engine/"),
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_banned_patterns(pattern):
    allowed = PATTERNS[pattern]
    found = []
    for file in FILES:
        name = file.relative_to(SOURCE).as_posix()
        if name.startswith(allowed):
            continue
        for number, line in enumerate(_code(file), 1):
            if re.search(pattern, line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


def _code(file):
    """The file's lines with every docstring blanked: words about a thing are not the thing."""
    lines = file.read_text(encoding="utf-8").splitlines()
    for node in ast.walk(TREES[file]):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            for number in range(node.lineno - 1, node.end_lineno):
                lines[number] = ""
    return lines


def test_the_half_pixel_is_written_in_two_files_only():
    """`(x + 0.5) * s - 0.5` in any spelling: two halves of opposite sign around a product, in one line."""
    pattern = re.compile(r"\+ ?0\.5\)? ?[*/].*- ?0\.5\b")
    allowed = ("geometry/coords.py", "ops/sampling.py")
    found = [
        f"{file.relative_to(SOURCE)}:{number}: {line.strip()}"
        for file in FILES
        if not file.relative_to(SOURCE).as_posix().endswith(allowed)
        for number, line in enumerate(_code(file), 1)
        if pattern.search(line)
    ]
    assert found == []


def test_never_the_word_mask_in_a_name_of_the_types():
    names = [n.target.id for n in ast.walk(TREES[SOURCE / "types.py"]) if isinstance(n, ast.AnnAssign)]
    assert names and not [n for n in names if "mask" in n]
