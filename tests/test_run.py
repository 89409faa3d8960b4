"""A whole run with real parts: sandboxes, gateway, mini-swe-agent, a tiny student that trains."""

import shutil
from pathlib import Path

import pytest
from rich.console import Console
from run_room import ran, write_recipe

from rollin.errors import UserError
from rollin.progress import ConsoleReporter
from rollin.runs import resume
from rollin.store import Exit, Phase, Purpose, Store
from rollin.tasks.schema import write_tasks


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_a_run_collects_labels_trains_and_evaluates(tmp_path: Path, cache: Path, tiny_directory: Path) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory, evaluation={"base": 1})
    printed = ran(cache, "run", recipe, "--out", tmp_path / "run")
    with Store.read(tmp_path / "run" / "run.db") as store:
        assert [(row.number, row.phase) for row in store.iterations()] == [(n, Phase.DONE) for n in range(3)]
        first = store.trajectories(iteration=1, purpose=Purpose.COLLECT)
        assert [row.resolved for row in first] == [True, True]  # beta 1: the expert acts alone
        assert all(row.exit is Exit.SUBMITTED for row in first)
        (second,) = store.trajectories(iteration=2, purpose=Purpose.COLLECT)
        assert second.instance_id not in {row.instance_id for row in first}
        turns = [turn for row in store.trajectories(purpose=Purpose.COLLECT) for turn in store.turns(row.id)]
        assert all(turn.label.text for turn in turns)
        assert {turn.actor.value for turn in turns if turn.label.text != turn.action.content} == {"student"}
        assert [(e.iteration, e.n, e.resolved) for e in store.evaluations()] == [(0, 1, 0), (2, 2, 0)]
        train, evaluation = ({t.module for t in store.tasks() if t.split == split} for split in ("train", "eval"))
        assert not train & evaluation
    assert "before" in printed.lower() or "iteration" in printed
    assert "labels are longer than an action of the student may be, 12 tokens" in " ".join(printed.split())
    assert (tmp_path / "run" / "report" / "result.png").stat().st_size > 1000
    assert (tmp_path / "run" / "checkpoints" / "iteration-2" / "model.safetensors").exists()
    shown = ran(cache, "show", tmp_path / "run", 3)
    assert "pytest" in shown
    again = ran(cache, "resume", tmp_path / "run")  # nothing left to do, and it says what there is
    assert "rollin show" in again


OWN = {
    "grpo": {"attempts": 2},
    "sage-opd": {"label": "teacher", "objective": {"kind": "cross_entropy"}},  # the expert has no log-probabilities
}
"""What a row is changed in, to be run by the tiny student."""


@pytest.mark.parametrize("name", ["sft", "grpo", "opd", "sage-opd"])
def test_the_other_methods_run_by_the_same_loop(tmp_path: Path, cache: Path, tiny_directory: Path, name: str) -> None:
    """A student of random weights resolves nothing: reinforcement learning finds nothing to learn, and says so."""
    teacher = {"kind": "local", "model": str(tiny_directory)} if name == "opd" else {"kind": "expert"}
    student = {"model": str(tiny_directory), "sampling": {"temperature": 1.0, "max_tokens": 12}}
    recipe = write_recipe(
        tmp_path / "other.yaml", tiny_directory, iterations=1, teacher=teacher, student=student,
        method={"name": name} | OWN.get(name, {}), evaluation={"base": False},
    )  # fmt: skip
    printed = ran(cache, "run", recipe, "--out", tmp_path / "run")
    with Store.read(tmp_path / "run" / "run.db") as store:
        (_, row) = store.iterations()
        rows = store.trajectories(iteration=1, purpose=Purpose.COLLECT)
        turns = [turn for each in rows for turn in store.turns(each.id)]
    assert len(rows) == (4 if name == "grpo" else 2)
    assert row.phase is Phase.DONE
    assert {turn.actor.value for turn in turns} <= ({"teacher"} if name == "sft" else {"student", "teacher"})
    assert all((turn.label.text is None) == (name in ("grpo", "opd")) for turn in turns)
    assert {turn.sound for turn in turns} == {None}  # no state holds a message without a command: nothing to judge by
    training = row.metrics["training"]
    assert isinstance(training, dict)
    assert (training["label_tokens"] == 0) == (name == "grpo")
    assert ("no trajectory to learn from" in printed) == (name == "grpo")


def test_a_budget_ends_collecting_and_bounds_training(tmp_path: Path, cache: Path, tiny_directory: Path) -> None:
    """Two tasks an iteration, one at a time: after the first trajectory the share of the turns is used up."""
    recipe = write_recipe(
        tmp_path / "budget.yaml", tiny_directory, concurrency=1, tasks_per_iteration=2, evaluation={"base": False},
        method="sft", budget={"turns": 3, "training_tokens": 1500},
    )  # fmt: skip
    printed = ran(cache, "run", recipe, "--out", tmp_path / "run")
    with Store.read(tmp_path / "run" / "run.db") as store:
        rows = {n: store.trajectories(iteration=n, purpose=Purpose.COLLECT) for n in (1, 2)}
        spent = store.spent(row.id for row in rows[1])
        said = [turn.action for row in rows[1] for turn in store.turns(row.id)]
        trained = [iteration.metrics.get("training") for iteration in store.iterations()[1:]]
    assert len(rows[1]) == 1
    assert not rows[2]  # the first trajectory was longer than both shares
    assert spent.turns == len(said) >= 3
    assert spent.teacher_tokens == sum(action.completion_tokens for action in said) > 0
    assert "the budget allows 1 of 2 trajectories" in printed
    assert sum(each["packed_tokens"] for each in trained if isinstance(each, dict)) <= 1500


@pytest.mark.slow
def test_what_a_student_began_with_is_learnt_from_again(tmp_path: Path, cache: Path, tiny_directory: Path) -> None:
    first = {"iterations": 1, "evaluation": {"base": False}}
    recipe = write_recipe(tmp_path / "first.yaml", tiny_directory, **first)
    ran(cache, "run", recipe, "--out", tmp_path / "first")
    shown = f"demonstrations={tmp_path / 'first'}"
    ran(cache, "run", recipe, shown, "tasks_per_iteration=1", "--out", tmp_path / "second")
    ran(cache, "run", recipe, shown, "method.aggregate=last", "--out", tmp_path / "third")
    labels = []
    for name in ("first", "second", "third"):
        with Store.read(tmp_path / name / "run.db") as store:
            labels.append(store.iterations()[-1].trained("labels"))
            own = sum(len(store.turns(row.id)) for row in store.trajectories(purpose=Purpose.COLLECT))
            assert labels[-1] == own + (labels[0] if name == "second" else 0)
    with Store.read(tmp_path / "first" / "run.db") as store:
        collected = {row.instance_id for row in store.trajectories(purpose=Purpose.COLLECT)}
        seen = {task.module: task for task in store.tasks() if task.instance_id in collected}
    assert len(seen) == 2
    files = [tmp_path / "train.jsonl", tmp_path / "eval.jsonl"]
    for file, task in zip(files, seen.values(), strict=False):
        write_tasks(file, [task])
    tasks = {side: [{"file": str(file)}] for side, file in zip(("train", "eval"), files, strict=True)}
    recipe = write_recipe(tmp_path / "other.yaml", tiny_directory, tasks=tasks, **first)
    printed = ran(cache, "run", recipe, shown, "--out", tmp_path / "fourth", expected=2)
    assert "are in both the demonstrations and eval" in " ".join(printed.split())
    assert not (tmp_path / "fourth").exists()


def test_beta_follows_a_student_that_was_measured_on_training_tasks(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    roll_in = {"kind": "turn_mixture", "beta": {"kind": "by_progress", "tasks": 1}}
    recipe = write_recipe(
        tmp_path / "adaptive.yaml", tiny_directory, iterations=1, method={"name": "dagger", "roll_in": roll_in},
        evaluation={"base": False},
    )  # fmt: skip
    ran(cache, "run", recipe, "--out", tmp_path / "run")
    with Store.read(tmp_path / "run" / "run.db") as store:
        (probed,) = store.trajectories(purpose=Purpose.PROBE)
        collected = store.trajectories(purpose=Purpose.COLLECT)
        assert probed.instance_id in {row.instance_id for row in collected}
        assert not probed.resolved
        assert store.iterations()[1].beta == 1.0
        assert {turn.actor.value for row in collected for turn in store.turns(row.id)} == {"teacher"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "RECIPE", "trainig.epochs=2"], "did you mean 'training'"),
        (["run", "RECIPE", "iterations=many"], "valid integer"),
        (["run", "RECIPE", "tasks.eval=[{source: kata, family: visble, count: 3}]"], "'tasks.eval.0.family': input"),
        (["run", "RECIPE", "tasks.eval=[{source: kata, famly: visible, count: 3}]"], "did you mean 'family'"),
        (["run", "RECIPE", "tasks.eval=[5]"], "'tasks.eval.0'"),
        (["run", "RECIPE", "method.roll_in={kind: turn_mixture, beta: {kind: constant, value: 2}}"], "roll_in.beta'"),
        (["run", "RECIPE", "method=dager"], "did you mean 'dagger'"),
        (["run", "RECIPE", "teacher={kind: endpoint, model: m, url: u}"], "did you mean 'base_url'"),
        (["run", "nowhere.yaml"], "cannot read the recipe"),
        (["run", "CORRUPT"], "is not text in UTF-8"),
        (["run", "RECIPE", "student.model=/no/such/model"], "check the path"),
        (["run", "RECIPE", "tasks.eval=[{file: TASKS}]"], "line 1"),
        (["run", "RECIPE", "tasks.eval=[{file: CORRUPT}]"], "is not text in UTF-8"),
        (["run", "RECIPE", "tasks.train=[{file: EMPTY}]"], "holds no task"),
        (["compare", "RECIPE", "--methods", "dagger,sfd"], "did you mean 'sft'"),
        (["label", "nowhere", "--teacher", "http://127.0.0.1:9/v1", "--teacher-model", "m"], "is not a run"),
        (["run", "RECIPE", "--out", "/proc/run"], "cannot"),
        (["run", "RECIPE", "--out", 300 * "x"], "File name too long"),
        (["eval", "RECIPE", "--out", "/proc/run"], "cannot write to the run directory"),
        (["eval", "RECIPE", "--model", "tiny #2"], "tiny #2"),
        (["eval", "RECIPE", "--model", "20260101"], "20260101"),
        (["run", "RECIPE", "training={parameters: top_layers, top_layers: 3}"], "the model has 2 layers"),
        (["run", "RECIPE", "demonstrations=nowhere"], "is not a run"),
        (["resume", "nowhere"], "is not a run"),
        (["show", "nowhere"], "is not a run"),
        (["run", "RECIPE", "student.model=CORRUPT"], "cannot be loaded"),
        (["run", "RECIPE", "student.model=BASE"], "has no chat template"),
        (["run", "RECIPE", "harness.action_regex=("], "no regular expression"),
        (["run", "RECIPE", "harness.action_regex=(a)(b)"], "2 groups"),
        (["run", "RECIPE", "harness.instance_template='{% if'"], "no template"),
        (["run", "RECIPE", "name=2024-13-45"], "is not a YAML value"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path, cache: Path, tiny_directory: Path, arguments: list[str], said: str
) -> None:
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory)
    (tmp_path / "tasks.jsonl").write_text('{"instance_id": "a"}\n')
    (tmp_path / "corrupt.gguf").write_bytes(b"GGUF" + bytes(100) + b"\xff")
    (tmp_path / "empty.jsonl").write_text("\n")
    shutil.copytree(tiny_directory, tmp_path / "base", ignore=shutil.ignore_patterns("chat_template*"))
    files = {"TASKS": "tasks.jsonl", "CORRUPT": "corrupt.gguf", "EMPTY": "empty.jsonl", "BASE": "base"}
    names = {"RECIPE": recipe, **{name: tmp_path / file for name, file in files.items()}}
    for name, place in names.items():
        arguments = [argument.replace(name, str(place)) for argument in arguments]
    if arguments[0] == "run" and "--out" not in arguments:
        arguments = [*arguments, "--out", str(tmp_path / "run")]
    printed = ran(cache, *arguments, expected=2)
    assert said in printed
    assert "Traceback" not in printed
    assert len([line for line in printed.splitlines() if line.startswith("rollin:")]) == 1
    assert not (tmp_path / "run").exists(), "what didn't come to a run leaves nothing"


def test_a_share_that_was_spent_before_leaves_the_student_as_it_is(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    """The first trajectory alone takes more turns than both iterations may."""
    changes = {"method": {"name": "dagger", "aggregate": "last"}, "budget": {"turns": 1}, "evaluation": {"base": False}}
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory, concurrency=1, **changes)
    printed = ran(cache, "run", recipe, "--out", tmp_path / "run")
    assert "iteration 2: no trajectory to learn from" in printed
    with Store.read(tmp_path / "run" / "run.db") as store:
        assert [len(store.trajectories(iteration=i, purpose=Purpose.COLLECT)) for i in (1, 2)] == [1, 0]


def test_a_folder_that_was_there_stays_where_a_run_does_not_begin(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "run").mkdir()
    recipe = write_recipe(tmp_path / "small.yaml", Path("/no/such/model"))
    ran(cache, "run", recipe, "--out", tmp_path / "run", expected=2)
    assert (tmp_path / "run").is_dir()


def test_a_measurement_is_taken_for_no_other(tmp_path: Path, cache: Path, tiny_directory: Path) -> None:
    nobody = {"kind": "endpoint", "base_url": "http://127.0.0.1:9/v1", "model": "away"}
    recipe, place = write_recipe(tmp_path / "small.yaml", tiny_directory, teacher=nobody), tmp_path / "measured"
    ran(cache, "eval", recipe, "evaluation.labels=true", "--out", place, expected=2)
    assert not place.exists(), "the teacher is asked where labels are wanted, and there alone"
    first = ran(cache, "eval", recipe, "--out", place)
    assert "building tasks: 2/2" in first, "it needs no training tasks"
    again = ran(cache, "eval", recipe, "--out", place, "concurrency=1", "training.epochs=2")
    assert "resolved 0.0% (0/2" in again
    shutil.copytree(tiny_directory, tmp_path / "other")
    for change in ("tasks.seed=1", f"student.model={tmp_path / 'other'}"):
        printed = ran(cache, "eval", recipe, change, "--out", place, expected=2)
        assert "holds a measurement of another student, or by other settings" in " ".join(printed.split())
    with pytest.raises(UserError, match="is a measurement"):
        resume(place, ConsoleReporter(Console(quiet=True)))


def test_where_every_trajectory_fails_nothing_is_taken_for_done(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    """A slip that only mini-swe-agent finds: its variables are not known here."""
    recipe = write_recipe(tmp_path / "small.yaml", tiny_directory)
    printed = ran(cache, "run", recipe, "harness.instance_template='{{ tsk }}'", "--out", tmp_path / "run", expected=3)
    told = " ".join(printed.split())
    assert "evaluating: 2 of 2 trajectories failed" in told
    assert "tsk" in told
    with Store.read(tmp_path / "run" / "run.db") as store:
        assert [row.phase for row in store.iterations()] == [Phase.COLLECTING]
        assert not store.evaluations()


TEACHER = """
def teach(messages, task):
    {does}
"""


def test_where_the_teacher_gave_no_label_the_run_waits_for_it(
    tmp_path: Path, cache: Path, tiny_directory: Path
) -> None:
    teacher = tmp_path / "teacher.py"
    teacher.write_text(TEACHER.format(does="raise RuntimeError('lost')"))
    roll_in = {"kind": "turn_mixture", "beta": {"kind": "constant", "value": 0.0}}
    recipe = write_recipe(
        tmp_path / "small.yaml", tiny_directory, iterations=1, evaluation={"base": False},
        method={"name": "dagger", "roll_in": roll_in}, teacher={"kind": "function", "function": f"{teacher}:teach"},
    )  # fmt: skip
    printed = ran(cache, "run", recipe, "--out", tmp_path / "run", expected=3)
    assert "the teacher gave none of" in " ".join(printed.split())
    teacher.write_text(TEACHER.format(does="return 'ls'"))
    ran(cache, "resume", tmp_path / "run")
    with Store.read(tmp_path / "run" / "run.db") as store:
        turns = [turn for row in store.trajectories(purpose=Purpose.COLLECT) for turn in store.turns(row.id)]
        assert {turn.label.text for turn in turns} == {"ls"}
        assert store.iterations()[1].trained("labels") == len(turns) > 0
