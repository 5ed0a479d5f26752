"""The command `asterism`. Its first word is a verb, and every verb is one file of this folder.

Only the chosen verb's file is imported, and a verb imports torch only when it works: help and the list of
methods answer at once. Exit codes: 0 done, 1 the work failed, 2 the request was wrong, 130 interrupted.
"""

import ast
import difflib
import importlib
import io
import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from asterism.errors import AsterismError, RequestError

VERBS = (
    *("demo", "discover", "attach", "train", "bootstrap", "predict", "evaluate", "compare"),
    *(
        "match",
        "sync",
        "annotate",
        "calibrate",
        "triangulate",
        "lift",
        "pose",
        "register",
        "deform",
        "convert",
    ),
    *("methods", "info", "doctor"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; what is returned is the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our letters shows ? instead of failing
    # Threads that wait by spinning make a busy machine five times slower, and an idle one a tenth faster.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if argv is None else argv)
    traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        return _dispatch(words)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print("asterism: interrupted", file=sys.stderr)
        return 130
    except (AsterismError, OSError) as error:
        if traceback:
            raise
        print(f"asterism: {error}", file=sys.stderr)
        return 2 if isinstance(error, RequestError) else 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] == "--version":
        from importlib.metadata import version

        print("asterism", version("asterism"))
        return 0
    if words[0] not in VERBS:
        near = difflib.get_close_matches(words[0], VERBS, n=2, cutoff=0.5) or VERBS
        raise RequestError(
            f"no verb is called '{words[0]}'; did you mean {' or '.join(near)}? See: asterism -h"
        )
    return _run(words[0], words[1:])


def _run(verb: str, words: list[str]) -> int:
    import tyro

    style = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
    file = importlib.import_module(f"asterism.app.{verb}")
    try:
        args = tyro.cli(
            file.Args,
            prog=f"asterism {verb}",
            description="\n\n".join(textwrap.fill(part, 79) for part in str(file.__doc__).split("\n\n")),
            args=words,
            config=style,
        )
    except SystemExit as stop:  # tyro has printed its help (0) or what was wrong (2)
        return stop.code if isinstance(stop.code, int) else 2
    return file.run(args)


def usage() -> str:
    """The page of `asterism --help`: one line per verb, read from the first line of the verb's file."""
    lines = ["asterism: keypoints from pictures and clips, with labels or without.", "", "verbs:"]
    for verb in VERBS:
        source = Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]
        lines.append(f"  {verb:<11} {first}")
    lines += [
        "",
        "asterism VERB --help tells more of one verb. --version prints the version; --traceback, with any",
        "verb, shows where an error came from.",
    ]
    return "\n".join(lines)
