"""List the methods: what each takes, gives and learns from, and its paper."""

from dataclasses import dataclass

from asterism import catalogue
from asterism.app import show


@dataclass(frozen=True)
class Args:
    json: bool = False  # print one JSON object instead of a table


def run(args: Args) -> int:
    rows = list(catalogue.entries().values())
    if args.json:
        keys = ("name", "family", "takes", "gives", "learns_from", "paper", "link", "idea")
        print(show.as_json({"methods": [{key: getattr(row, key) for key in keys} for row in rows]}))
        return 0
    head = ("name", "family", "takes", "gives", "learns from", "paper")
    cells = [(r.name, r.family, r.takes, r.gives, r.learns_from or "nothing", r.paper) for r in rows]
    print(show.as_table(head, cells))
    print("\nasterism info NAME tells more of one.")
    return 0
