"""Make the matches of many images consistent: one label per feature, the same in every image.

MATCHES are of any pairwise matcher: our .npz (the block matrix as CSR, and counts), hloc's .h5, or a COLMAP
.db. The tracks are written as .npz (labels and confidence), or as consistent matches again, .h5 or .db, by
the suffix of -o. How many labels there are is estimated where --universe is not given.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from asterism import catalogue
from asterism.app import checks, show
from asterism.errors import RequestError


@dataclass(frozen=True)
class Args:
    matches: tyro.conf.Positional[Path]  # .npz, .h5 of hloc, or .db of COLMAP
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"], metavar="TRACKS")]
    """.npz, .h5 or .db; without a suffix .npz"""
    method: str = "auto"  # a solver; asterism methods lists them as family matching
    universe: int | None = None  # how many labels; without it estimated
    features: Path | None = None  # hloc's file of keypoints, beside an .h5 of matches
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    checks.positive("--universe", args.universe)
    if (found := catalogue.entry(args.method)).takes != "Matches":
        raise RequestError(
            f"--method {args.method}: is no solver of matches (it takes {found.takes}); try auto"
        )
    output = args.output if args.output.suffix else args.output.with_suffix(".npz")
    checks.new_file("-o", output)
    from asterism.io.matches import read_matches, write_tracks

    matches = read_matches(args.matches, args.features)
    solver = catalogue.synchroniser(args.method)()
    start = time.perf_counter()
    tracks = solver.predict(matches, args.universe)
    seconds = time.perf_counter() - start
    write_tracks(output, tracks, matches, source=args.matches)
    labelled = tracks.labels >= 0
    answer = {
        "tracks": str(output),
        "method": args.method,
        "images": matches.n_images,
        "features": len(labelled),
        "matches": matches.w.nnz // 2,
        "universe": tracks.universe,
        "labelled": int(labelled.sum()),
        "confidence": float(tracks.confidence[labelled].mean()) if labelled.any() else None,
        "seconds": seconds,
    }
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0
