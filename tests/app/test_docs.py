"""What the documentation says is so: its table, its links, its Python, its commands."""

import ast
import importlib.util
import re
from pathlib import Path

import pytest

import asterism
from asterism.app.cli import VERBS, main

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
]


def test_the_readmes_table_is_the_catalogue():
    spec = importlib.util.spec_from_file_location("make_table", ROOT / "docs" / "make_table.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text == script.updated(text), "run: python docs/make_table.py"
    assert all(f"`{name}`" in text for name in asterism.list_methods())


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_uses_names_that_exist(page):
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
        if "import asterism" not in block:
            continue  # a sketch of a class, not a program
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "asterism":
                assert hasattr(asterism, node.attr), node.attr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_name_verbs_and_options_that_exist(page, capsys):
    for line in re.findall(r"^asterism (\S+)(.*)$", page.read_text(encoding="utf-8"), re.M):
        assert line[0] in VERBS
        main([line[0], "--help"])
        shown = capsys.readouterr().out
        for option in re.findall(r"(?<!\S)(--?[a-z]+)", line[1]):
            assert re.search(rf"(?<!\S){option}\b", shown), (line, option)


def test_public_names_are_all_there():
    for name in asterism.__all__:
        assert callable(getattr(asterism, name)), name
    assert asterism.__version__
    with pytest.raises(AttributeError, match="open_data"):
        asterism.nothing  # noqa: B018
