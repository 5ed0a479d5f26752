"""Find the same landmarks in many pictures of one thing, or of things of one kind, without any label.

Features that agree in as many pictures as possible become at most -k landmarks. -o writes them as labels:
.json is COCO, .csv a plain table; attach, train and lift read them. --draw is a sheet of the pictures with
the landmarks on them: look at it. Landmarks that are no better than chance are dropped; where none is left
the pictures are refused and it ends with 1. Things should be upright and fill the pictures alike; --turned is
for pictures that are turned.

--flow DIR also bends each picture onto the first one, by the landmarks that both show.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from asterism.app import checks, show
from asterism.errors import RequestError

if TYPE_CHECKING:
    from asterism.engine.annotate import Landmarks

_APART = 0.01  # of a picture's diagonal: features that are nearer are one
_SIDE, _COLUMNS, _SHOWN = 320, 6, 60  # pixels of a picture on the sheet; pictures in a row, and at most


@dataclass(frozen=True)
class Args:
    pictures: tyro.conf.Positional[Path]  # a folder of pictures
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="FILE")]  # .json or .csv
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10  # landmarks at most
    method: str = "sift"  # what finds features; of one that learned, the folder of its run
    features: int = 300  # the best so many of a picture
    ratio: float = 0.95  # greatest distance of a match over that to the next best; 1: any
    turned: bool = False  # pictures may be turned
    draw: Path | None = None  # a sheet of the pictures with the landmarks (.png)
    flow: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """a new folder for every picture bent onto the first"""
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    from asterism.data.folder import image_folder

    _check(args)
    folder = image_folder(args.pictures)
    from asterism.engine.annotate import annotate, table_of, thinned
    from asterism.engine.match import feature_method, seen
    from asterism.io.keypoints import write_keypoints

    start = time.perf_counter()
    method = feature_method(args.method, "small", args.features, not args.turned)
    every = [thinned(seen(method, folder.name(i)), _APART) for i in range(len(folder))]
    found = annotate(every, args.k, ratio=args.ratio)
    answer: dict[str, Any] = {"images": len(every), "features": sum(len(one.xy) for one in every)}
    answer |= {"landmarks": len(found.matched), "chance": found.chance}
    if len(found.matched):
        write_keypoints(args.output, table_of(found))
        answer |= {"written": str(args.output), "each": _each(found)} | _drawn(args, found)
    else:
        answer["refusal"] = (
            "no landmark agrees better than matches at random do; do the pictures show one kind of thing, "
            "upright and alike in size? --features and --turned may help"
        )
    answer["seconds"] = time.perf_counter() - start
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    if "refusal" in answer and not args.json:
        print(f"asterism: refused: {answer['refusal']}", file=sys.stderr)
    return 1 if "refusal" in answer else 0


def _check(args: Args) -> None:
    if not args.pictures.is_dir():
        raise RequestError(f"{args.pictures}: is no folder of pictures")
    checks.positive("-k", args.k)
    checks.new_file("-o", args.output)
    if args.output.suffix.lower() not in (".json", ".csv"):
        raise RequestError(f"-o {args.output}: landmarks are written to .json (COCO) or .csv")
    if args.features < 8:
        raise RequestError(f"--features {args.features}: wanted 8 or more")
    if not 0 < args.ratio <= 1:
        raise RequestError(f"--ratio {args.ratio}: wanted a number above 0, up to 1")
    if args.draw is not None:
        checks.new_file("--draw", args.draw)
        if args.draw.suffix.lower() != ".png":
            raise RequestError(f"--draw {args.draw}: wanted a file that ends in .png")
    if args.flow is not None:
        checks.new_folder("--flow", args.flow)


def _each(found: "Landmarks") -> dict[str, dict[str, float | int]]:
    seen_in = (found.score > 0).sum(0).tolist()
    told = zip(found.matched.tolist(), seen_in, strict=True)
    return {f"landmark{i}": {"matched": m, "images": n} for i, (m, n) in enumerate(told)}


def _drawn(args: Args, found: "Landmarks") -> dict[str, Any]:
    from asterism.io.images import read_image, write_image
    from asterism.viz.draw import contact_sheet, fit, moved, points

    answer: dict[str, Any] = {}
    if args.draw is not None:
        sheet = []
        for name, size, xy in list(zip(found.names, found.sizes, found.xy, strict=True))[:_SHOWN]:
            picture = fit(read_image(name), _SIDE)
            sheet.append(points(picture, moved(xy, size, picture.shape[:2])))
        write_image(args.draw, contact_sheet(sheet, _COLUMNS))
        answer["drawn"] = str(args.draw)
    if args.flow is not None:
        answer |= _bent(args.flow, found)
    return answer


def _bent(folder: Path, found: "Landmarks") -> dict[str, Any]:
    """Every picture as the first one sees it; those that share too few landmarks are told."""
    from asterism.engine.annotate import bent
    from asterism.io.images import read_image, write_image

    folder.mkdir(parents=True)
    left, count = list[str](), 0
    for i, name in enumerate(found.names):
        try:
            picture = bent(found, i, 0, read_image(name))
        except RequestError as error:
            left.append(str(error))
            continue
        write_image(folder / f"{Path(name).stem}.png", picture)
        count += 1
    return {"bent": f"{count} pictures in {folder}"} | ({"not_bent": left} if left else {})
