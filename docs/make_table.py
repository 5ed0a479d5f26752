"""Write the README's table of methods from the catalogue: python docs/make_table.py"""

from pathlib import Path

from asterism import catalogue

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- methods: written by docs/make_table.py -->\n", "<!-- end of methods -->"


def table() -> str:
    """The methods as a Markdown table."""
    lines = ["| name | takes | gives | learns from | paper |", "|---|---|---|---|---|"]
    for entry in catalogue.entries().values():
        paper = f"[{entry.paper}]({entry.link})"
        cells = (f"`{entry.name}`", entry.takes, entry.gives, entry.learns_from or "nothing", paper)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """The README's text with the table as it ought to be."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table() + END + after


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
