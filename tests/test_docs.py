"""The documentation is in step with the code: settings, examples, links."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from rollin.recipe import parse_recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = [
    pytest.param(example, id=f"{page.name}-{number}")
    for page in PAGES
    for number, example in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    return loaded("make_recipe_table")


def loaded(name: str) -> ModuleType:
    """A module of docs/."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_of_recipes_is_in_step_with_the_settings(maker: ModuleType) -> None:
    page = maker.PAGE.read_text()
    assert page == maker.with_tables(page), "run: python docs/make_recipe_table.py"
    assert "`training`" in page


def test_the_page_of_sandboxes_is_in_step_with_the_attacks_that_are_tried() -> None:
    attacks = loaded("make_attack_table")
    page = attacks.PAGE.read_text()
    assert page == attacks.with_tables(page), "run: python docs/make_attack_table.py"
    assert "does not resolve" in page


def test_every_setting_has_one_meaning(maker: ModuleType) -> None:
    said = {
        f"{model.__name__}.{name}": meaning
        for model in maker.groups()
        for name, meaning in maker.meanings(model).items()
        if name != "kind"
    }
    assert [setting for setting, meaning in said.items() if not meaning] == []
    twice = [setting for setting, meaning in maker.MEANINGS.items() if said.get(setting) != meaning]
    assert twice == [], "these are gone, or have a docstring now: take them out of MEANINGS"


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_of_a_recipe_is_valid(example: str) -> None:
    quickstart = yaml.safe_load((ROOT / "recipes" / "quickstart.yaml").read_text())
    parse_recipe(quickstart | yaml.safe_load(example), "example")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    here = [link for link in links if not link.startswith(("http://", "https://", "mailto:"))]
    assert [link for link in here if not (page.parent / link).exists()] == []
