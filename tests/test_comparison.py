"""Methods side by side, with real runs of a tiny student."""

import io
import re
import shutil
import sqlite3
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console
from run_room import ran, write_recipe

from rollin.comparison import MATCHED, Comparison
from rollin.errors import UserError
from rollin.evaluation.rate import Rate
from rollin.evaluation.result import Result
from rollin.method import METHODS
from rollin.progress import ConsoleReporter
from rollin.recipe import load_recipe
from rollin.report.comparing import Findings
from rollin.store import DATABASE


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def counted_by_sql(database: Path) -> tuple[int, ...]:
    """What docs/store.md says that a run used."""
    page = (Path(__file__).parents[1] / "docs" / "store.md").read_text()
    (query,) = (block.split("```")[0] for block in page.split("```sql\n") if "training_tokens" in block)
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        return tuple(map(int, db.execute(query).fetchone()))


def test_a_comparison_runs_every_arm_once_and_finds_nothing_where_nothing_is(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    path = write_recipe(tmp_path / "small.yaml", tiny_directory, arms={"sft": {"tasks_per_iteration": 1}})
    options = ("--methods", f"{MATCHED},sft,dagger", "--seeds", 1, "--out", tmp_path / "compared")
    printed = ran(cache, "compare", path, *options)
    assert "3 of 3: sft-matched, seed 0" in printed
    assert printed.count("building tasks: ") >= 4
    comparison = Comparison(load_recipe(path), ["sft", MATCHED, "dagger"], [0], tmp_path / "compared")
    arms = {arm.name: arm for arm in comparison.arms()}
    assert all(arm.done for arm in arms.values())
    results = {name: arm.result() for name, arm in arms.items()}
    assert results["dagger"].labels == results[MATCHED].labels > results["sft"].labels > 0
    rows = pq.read_table(tmp_path / "compared" / "outcomes.parquet").to_pylist()
    assert {row["method"] for row in rows} == {"base", "sft", MATCHED, "dagger"}
    assert len(rows) == 4 * 2
    found = Findings.of(comparison)
    assert all("+0.0 (+0.0 to +0.0)" in row[1] for row in found.differences("dagger").rows)
    assert "| dagger | 1 | 0.0%" in (tmp_path / "compared" / "comparison.md").read_text()
    assert (tmp_path / "compared" / "comparison.png").stat().st_size > 1000
    page = (tmp_path / "compared" / "comparison.html").read_text()
    assert "What it cost" in page
    assert "src=" not in page.replace('src="data:image/png;base64,', "")  # it needs nothing from elsewhere
    assert results["dagger"].teacher_tokens > results["sft"].teacher_tokens > 0
    assert sum(results["dagger"].failures.values()) == 2
    assert [len(arm.curve) for arm in found.arms] == [1, 1, 1, 1]
    assert {name: (found.turns, found.teacher_tokens, found.trained_tokens) for name, found in results.items()} == {
        name: counted_by_sql(arm.directory / DATABASE) for name, arm in arms.items()
    }
    again = ran(cache, "compare", path, *options)  # nothing is left to do
    assert " of 3: " not in again
    shutil.copytree(tmp_path / "compared" / "results", tmp_path / "elsewhere" / "results")
    there = (*options[:-1], tmp_path / "elsewhere")
    again = ran(cache, "compare", path, *there)  # nor is where only the results are
    assert " of 3: " not in again
    elsewhere = Comparison(load_recipe(path), ["sft", MATCHED, "dagger"], [0], tmp_path / "elsewhere")
    assert Findings.of(elsewhere).tables("dagger") == found.tables("dagger")
    short = tmp_path / "elsewhere" / "results" / f"{MATCHED}-0.json"
    labels = results[MATCHED].labels
    short.write_text(short.read_text().replace(f'"labels": {labels}', f'"labels": {labels - 1}'))
    said = Console(file=io.StringIO())
    elsewhere.run(ConsoleReporter(said))
    assert f"its tasks gave {labels - 1} labels; dagger had {labels}" in " ".join(said.file.getvalue().split())
    other = ran(cache, "compare", path, "training.learning_rate=0.5", *options, expected=2)
    assert "begun with other settings" in " ".join(other.split())
    base = tmp_path / "elsewhere" / "results" / "base.json"
    base.write_text(base.read_text().replace('"max_turns": 12', '"max_turns": 11'))
    assert "base was begun with other settings" in " ".join(ran(cache, "compare", path, *there, expected=2).split())
    shutil.copy(tmp_path / "compared" / "results" / "base.json", base)
    (tmp_path / "elsewhere" / "results" / "sft-0.json").write_text("{}")
    assert "sft-0.json holds no run's result" in " ".join(ran(cache, "compare", path, *there, expected=2).split())


def test_outcomes_that_cannot_be_written_are_one_sentence() -> None:
    with pytest.raises(UserError, match="cannot write the outcomes"):
        Findings({}, {}, []).write(Path("/proc/outcomes.parquet"))


@pytest.mark.parametrize("counts", ['"resolved": 3', '"faults": -1'])
def test_a_result_whose_rate_is_none_is_refused(tmp_path: Path, counts: str) -> None:
    sound = Result(
        **{"recipe": {}, "done": True, "groups": {}, "outcomes": {}, "failures": {}, "curve": [(0, Rate(1, 2))]},
        **dict.fromkeys(("labels", "turns", "teacher_tokens", "trained_tokens", "seconds"), 0),
    )
    sound.write(tmp_path / "x.json")
    text = (tmp_path / "x.json").read_text()
    assert Result.read(tmp_path / "x.json") == sound
    name = counts.partition(":")[0]
    (tmp_path / "x.json").write_text(re.sub(f"{name}: [0-9]+", counts, text))
    with pytest.raises(UserError, match="holds no run's result"):
        Result.read(tmp_path / "x.json")


@pytest.mark.slow
def test_drift_from_a_local_teacher_is_measured_where_that_is_asked_for(
    tmp_path: Path, cache: Path, brief_directory: Path
) -> None:
    teacher = {"kind": "local", "model": str(brief_directory)}
    path = write_recipe(tmp_path / "small.yaml", brief_directory, teacher=teacher, iterations=1)
    options = ("--methods", "dagger", "--seeds", 1, "--out", tmp_path / "compared")
    ran(cache, "compare", path, *options)
    printed = ran(cache, "compare", path, *options, "--drift", 1)  # the runs are still there
    assert "Covariate shift" in printed
    (before,) = Result.read(tmp_path / "compared" / "results" / "base.json").drifts
    (after,) = Result.read(tmp_path / "compared" / "results" / "dagger-0.json").drifts
    assert before.value == pytest.approx(0, abs=1e-6)  # the student is the teacher, so far
    assert after.value > 1e-4
    assert before.trajectories == after.trajectories == 1
    with pytest.raises(UserError, match="--drift needs a teacher of kind local"):
        Comparison(load_recipe(write_recipe(path, brief_directory)), ["dagger"], [0], tmp_path, drift=1)


def test_an_arm_has_its_own_settings_and_the_rest_of_the_recipe_s(tmp_path: Path, tiny_directory: Path) -> None:
    chance = {"temperature": 1.0, "max_tokens": 12}
    arms = {
        "grpo": {"training": {"learning_rate": 1e-5}, "method": {"attempts": 4}, "student": {"sampling": chance}},
        "sft": {"teacher": {"kind": "local", "model": "somewhere"}, "tasks_per_iteration": 7, "seed": 9, "name": "x"},
    }
    recipe = load_recipe(write_recipe(tmp_path / "small.yaml", tiny_directory, arms=arms))
    grpo, sft = (arm.recipe for arm in Comparison(recipe, ["grpo", "sft"], [0], tmp_path).arms())
    assert grpo.training == recipe.training.model_copy(update={"learning_rate": 1e-5})
    assert (grpo.method.attempts, grpo.method.objective) == (4, METHODS["grpo"].objective)
    assert grpo.student == recipe.student.model_copy(update={"sampling": grpo.student.sampling})
    assert (sft.seed, sft.name) == (0, "sft-0")  # what makes it an arm is not its own to change
    assert (sft.teacher.kind, sft.tasks_in(1), sft.training) == ("local", 7, recipe.training)


def test_the_control_has_tasks_for_every_attempt_that_it_matches(tmp_path: Path, tiny_directory: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "small.yaml", tiny_directory), ["method.attempts=3"])
    comparison = Comparison(recipe, ["dagger", MATCHED], [0], tmp_path)
    assert comparison._matched(comparison.arm(MATCHED, 0)).tasks_per_iteration == [9, 5]


@pytest.mark.parametrize(
    ("methods", "arms", "said"),
    [
        (["sft", "dager"], {}, "'dager' is no method; did you mean 'dagger'"),
        (["sft", MATCHED], {}, "add dagger"),
        (["dagger", MATCHED], {MATCHED: {"tasks_per_iteration": 2}}, "to be matched; leave it out"),
        (["opd"], {}, "the arm opd"),
        (["sft"], {"sft": {"methd": 1}}, "did you mean 'method'"),
        (["sft"], {"stf": {}}, "'stf' is no method"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_before_it_begins(
    tmp_path: Path, tiny_directory: Path, methods: list[str], arms: dict[str, object], said: str
) -> None:
    recipe = load_recipe(write_recipe(tmp_path / "small.yaml", tiny_directory, arms=arms))
    with pytest.raises(UserError, match=said):
        Comparison(recipe, methods, [0], tmp_path)
