"""Match two pictures, or all of a folder: features, nearest neighbours both ways, and a check by geometry.

Two pictures give a homography (a plane, or a camera that only turned) or a fundamental matrix, whichever
explains them better, and the matches that agree; a folder gives all pairs, for asterism sync. Pictures that
do not show the same thing are refused: for two of them that ends with 1. Features are read at any turn;
--upright is for pictures that are not turned, and finds more there.

-o writes .npz (what asterism sync reads) or, of two pictures, .csv: a line per match. --draw is a picture of
the matches that agree.
"""

import csv
import io
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError

if TYPE_CHECKING:
    from asterism.engine.match import PairFound, Seen

_FEWER = 4000  # samples for a pair, where there are many: seconds for each pair of strangers otherwise


@dataclass(frozen=True)
class Args:
    pictures: tyro.conf.Positional[tuple[Path, ...]]  # two pictures, or more, or a folder
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="FILE")] = None
    """.npz; of two pictures also .csv"""
    method: str = "sift"  # what finds features; of one that learned, the folder of its run
    preset: str = "small"
    features: int | None = None  # the best so many of a picture; without it the method's number
    ratio: float = 0.9  # greatest distance of a match over that to the next best; 1: any
    threshold: float = 3.0  # pixels within which a match agrees with the geometry
    upright: bool = False  # the pictures are not turned
    window: int = 0  # match pictures at most so many places apart; 0: all pairs
    draw: Path | None = None  # a picture (.png) of the matches of two pictures that agree
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    files = _files(args.pictures)
    _check(args, len(files))
    from asterism.engine.match import Asked, feature_method, match, seen

    asked = Asked(ratio=args.ratio, threshold=args.threshold)
    method = feature_method(args.method, args.preset, args.features, args.upright)
    start = time.perf_counter()
    every = [seen(method, path) for path in files]
    if len(every) > 2:
        return _many(args, every, start)
    found = match(every[0], every[1], asked)
    answer = _told(every, found) | {"seconds": time.perf_counter() - start}
    if not found.refused:
        answer |= _written(args, every, found)
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if found.refused and not args.json:
        print(f"asterism: refused: {found.refused}", file=sys.stderr)
    return 1 if found.refused else 0


def _files(paths: tuple[Path, ...]) -> list[str]:
    from asterism.data.folder import image_folder

    files = []
    for path in paths:
        if not path.exists():
            raise RequestError(f"{path}: does not exist; wanted pictures, or a folder of them")
        if path.is_dir():
            folder = image_folder(path)
            files += [folder.name(i) for i in range(len(folder))]
        else:
            files.append(str(path))
    if len(files) < 2:
        raise RequestError(f"{', '.join(map(str, paths))}: {len(files)} picture; wanted two or more")
    return files


def _check(args: Args, count: int) -> None:
    if args.output is not None:
        checks.new_file("-o", args.output)
        kinds = (".npz", ".csv") if count == 2 else (".npz",)
        if args.output.suffix.lower() not in kinds:
            raise RequestError(f"-o {args.output}: matches are written to {' or '.join(kinds)}")
    if count > 2 and (args.output is None or args.draw is not None):
        raise RequestError(
            f"{count} pictures: name the file to write, -o matches.npz; --draw is for two pictures"
        )
    if args.draw is not None:
        checks.new_file("--draw", args.draw)
        if args.draw.suffix.lower() != ".png":
            raise RequestError(f"--draw {args.draw}: wanted a file that ends in .png")
    if args.features is not None and args.features < 8:
        raise RequestError(f"--features {args.features}: wanted 8 or more")
    if args.window < 0:
        raise RequestError(f"--window {args.window}: wanted 0 (all pairs) or more")


def _told(every: "list[Seen]", found: "PairFound") -> dict[str, Any]:
    answer: dict[str, Any] = {"refusal": found.refused} if found.refused else {}
    answer |= {
        "features": [len(each.xy) for each in every],
        "matches": len(found.index),
        "inliers": int(found.inlier.sum()),
        "log10_chance": found.log_chance,
    }
    if found.model is not None and not found.refused:
        answer |= {"model": found.model.kind, "matrix": found.model.matrix.tolist()}
    return answer


def _written(args: Args, every: "list[Seen]", found: "PairFound") -> dict[str, Any]:
    from asterism.engine.match import matches_of
    from asterism.io.atomic import write_text
    from asterism.io.images import read_image
    from asterism.io.matches import write_npz

    answer = {}
    a, b = (each.xy[found.index[:, i]].numpy() for i, each in enumerate(every))
    if args.output is not None and args.output.suffix.lower() == ".csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["a_x", "a_y", "b_x", "b_y", "similarity", "inlier"])
        writer.writerows(_rows(a, b, found))
        write_text(args.output, out.getvalue())
    elif args.output is not None:
        write_npz(args.output, matches_of(every, {(0, 1): found}))
    if args.output is not None:
        answer["written"] = str(args.output)
    if args.draw is not None:
        from asterism.viz.matched import draw_matches

        pictures = [read_image(each.name) for each in every]
        draw_matches(args.draw, pictures[0], pictures[1], a, b, found.inlier)
        answer["drawn"] = str(args.draw)
    return answer


def _rows(a: Any, b: Any, found: "PairFound") -> list[list[Any]]:
    numbers = zip(a.tolist(), b.tolist(), found.similarity.tolist(), found.inlier.tolist())
    return [[*map(repr, (*p, *q, s)), int(on)] for p, q, s, on in numbers]


def _many(args: Args, every: "list[Seen]", start: float) -> int:
    from asterism.engine.match import Asked, match_all
    from asterism.io.matches import write_npz

    counted = {"pairs": 0, "pairs_refused": 0, "matches": 0, "inliers": 0}

    def told(i: int, j: int, pair: "PairFound") -> None:
        counted["pairs"] += 1
        counted["pairs_refused"] += bool(pair.refused)
        counted["matches"] += len(pair.index)
        counted["inliers"] += 0 if pair.refused else int(pair.inlier.sum())

    asked = Asked(ratio=args.ratio, threshold=args.threshold, samples=_FEWER)
    matches = match_all(every, args.window, asked, told)
    assert args.output is not None
    write_npz(args.output, matches)
    answer = {"written": str(args.output), "images": len(every), "features": len(matches.w.indptr) - 1}
    answer |= counted | {
        "seconds": time.perf_counter() - start,
        "next": f"asterism sync {args.output} -o tracks",
    }
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
