"""Tell all about one method: paper, idea, presets, parameters, cost."""

from dataclasses import dataclass

import tyro

from asterism import catalogue
from asterism.app import show


@dataclass(frozen=True)
class Args:
    name: tyro.conf.Positional[str]  # the method, as `asterism methods` calls it
    json: bool = False  # print one JSON object


def run(args: Args) -> int:
    entry = catalogue.entry(args.name)
    if entry.takes == "Matches":
        return _tell_solver(entry, args.json)
    from asterism.engine.cost import cost_of

    method = catalogue.method_class(args.name)
    costs = {preset: cost_of(method, config) for preset, config in method.presets.items()}
    answer = {
        "name": entry.name,
        "family": entry.family,
        "paper": entry.paper,
        "link": entry.link,
        "idea": entry.idea,
        "takes": entry.takes,
        "gives": entry.gives,
        "learns_from": entry.learns_from or None,
        "parameters": costs["paper"].parameters,
        "macs": costs["paper"].macs,
        "presets": {
            preset: {
                "parameters": costs[preset].parameters,
                "macs": costs[preset].macs,
                "config": str(config),
            }
            for preset, config in method.presets.items()
        },
    }
    print(show.as_json(answer) if args.json else show.as_lines(answer))
    return 0


def _tell_solver(entry: catalogue.Entry, json: bool) -> int:
    """A solver of matches has no weights and no presets, only what its config says."""
    answer = {
        key: getattr(entry, key) for key in ("name", "family", "paper", "link", "idea", "takes", "gives")
    }
    answer["config"] = str(catalogue.synchroniser(entry.name).Config())
    print(show.as_json(answer) if json else show.as_lines(answer))
    return 0
