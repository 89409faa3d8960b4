"""A recipe may build on others: what is joined, what is replaced, and what is said where that goes wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rollin.comparison import Comparison
from rollin.errors import UserError
from rollin.layers import read_settings
from rollin.recipe import load_recipe

BELOW = """
iterations: 5
tasks_per_iteration: 4
tasks: {train: [{source: kata, family: visible, count: 4}], eval: [{source: kata, family: visible, count: 2}]}
training: {learning_rate: 1.0e-4, epochs: 3}
teacher: {kind: endpoint, base_url: "http://127.0.0.1:1/v1", model: big}
"""


def written(folder: Path, **files: str) -> Path:
    """The files, and the path of the recipe called `top`."""
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(content)
    return folder / "top.yaml"


def test_groups_are_joined_and_what_is_said_later_wins(tmp_path: Path) -> None:
    top = written(tmp_path, below=BELOW, top="base: below.yaml\ntraining: {epochs: 1}\n")
    recipe = load_recipe(top)
    assert (recipe.training.epochs, recipe.training.learning_rate, recipe.iterations) == (1, 1e-4, 5)


def test_of_several_bases_the_later_lies_on_top_and_paths_start_at_who_names_them(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    written(tmp_path / "parts", below=BELOW, more="base: below.yaml\niterations: 3\nseed: 7\n")
    top = written(tmp_path, top="base: [parts/more.yaml, parts/last.yaml]\n")
    (tmp_path / "parts" / "last.yaml").write_text("iterations: 2\n")
    recipe = load_recipe(top, ["seed=8"])
    assert (recipe.iterations, recipe.seed) == (2, 8)


def test_a_group_of_another_kind_keeps_nothing_of_the_one_below(tmp_path: Path) -> None:
    top = written(tmp_path, below=BELOW, top="base: below.yaml\nteacher: {kind: expert}\n")
    assert load_recipe(top).teacher.kind == "expert"


def test_a_group_that_names_the_kind_which_it_is_anyway_keeps_it(tmp_path: Path) -> None:
    below = f"{BELOW}harness: {{max_turns: 7}}\nmethod: {{attempts: 3}}\n"
    top = written(
        tmp_path,
        below=below,
        top="base: below.yaml\nharness: {kind: mini_swe_agent, max_repeats: 3}\nmethod: {name: dagger}\n",
    )
    recipe = load_recipe(top)
    assert (recipe.harness.max_turns, recipe.harness.max_repeats, recipe.method.attempts) == (7, 3, 3)
    written(tmp_path, top="base: below.yaml\nmethod: {name: sft}\n")
    assert load_recipe(top).method.attempts == 1


def test_a_group_of_the_same_kind_keeps_it(tmp_path: Path) -> None:
    top = written(tmp_path, below=BELOW, top="base: below.yaml\nteacher: {model: bigger}\n")
    teacher = read_settings(top)["teacher"]
    assert (teacher["model"], teacher["base_url"]) == ("bigger", "http://127.0.0.1:1/v1")


def test_a_method_named_alone_is_a_group_too(tmp_path: Path) -> None:
    top = written(
        tmp_path, below=BELOW, middle="base: below.yaml\nmethod: sft", top="base: middle.yaml\nmethod: {keep: all}"
    )
    method = load_recipe(top).method
    assert (method.name, method.keep) == ("sft", "all")


def test_what_a_row_says_of_a_group_holds_where_a_recipe_changes_another_setting_of_it(tmp_path: Path) -> None:
    top = written(tmp_path, top=f"{BELOW}\nmethod: {{name: grpo, aggregate: {{weights: [1, 0.5]}}}}")
    aggregate = load_recipe(top).method.aggregate
    assert (aggregate.iterations, aggregate.weights) == (1, [1.0, 0.5])


def test_an_arm_changes_what_it_names_however_deep(tmp_path: Path) -> None:
    changes = ["student.sampling={temperature: 0.7, max_tokens: 192}"]
    changes += ["arms={grpo: {student: {sampling: {temperature: 1.0}}}}"]
    recipe = load_recipe(written(tmp_path, top=BELOW), changes)
    sampling = Comparison(recipe, ["grpo"], [0], tmp_path).arm("grpo", 0).recipe.student.sampling
    assert (sampling.temperature, sampling.max_tokens) == (1.0, 192)


def test_lists_are_replaced(tmp_path: Path) -> None:
    sets = [{"source": "kata", "family": "regression", "count": 1}]
    top = written(tmp_path, below=BELOW, top=yaml.safe_dump({"base": "below.yaml", "tasks": {"train": sets}}))
    assert read_settings(top)["tasks"]["train"] == sets


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"top": "base: nowhere.yaml\n"}, "nowhere.yaml (a base of"),
        ({"top": "base: top.yaml\n"}, "builds on it"),
        ({"top": "base: other.yaml\n", "other": "base: top.yaml\n"}, "builds on it"),
        ({"top": "base: {a: 1}\n"}, "neither a file's path nor a list"),
        ({"top": "base: [1]\n"}, "neither a file's path nor a list"),
        ({"top": "base: other.yaml\n", "other": "- 1\n"}, "holds no settings"),
        ({"top": "base: other.yaml\n", "other": "a: [\n"}, "is not YAML"),
        ({"top": "training: {epochs: 1}\nseed: 1\ntraining: {top_layers: 2}\n"}, "'training' is there twice"),
        ({"top": "seed: " + 5000 * "["}, "nested too deep"),
        ({"top": "base: other.yaml\narms: &x {y: *x}\n", "other": "arms: &x {y: *x}\n"}, "holds itself"),
    ],
)
def test_what_cannot_be_built_on_is_said_in_a_sentence(tmp_path: Path, files: dict[str, str], said: str) -> None:
    with pytest.raises(UserError) as error:
        load_recipe(written(tmp_path, **files))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_recipes_and_runs_are_read_without_what_takes_seconds_to_load() -> None:
    ours = "rollin.cli, rollin.recipe, rollin.report.viewer"
    script = f"import sys, {ours}; print(*{{'torch', 'transformers', 'datasets'}} & {{*sys.modules}})"
    outcome = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert outcome.stdout.split() == []
