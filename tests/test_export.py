"""What a run gives to other tools: predictions that swebench reads and evaluates, turns in the chat format."""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from published_rows import swe_bench, swe_gym, write
from pyarrow import parquet
from scripted import make_task

from rollin.errors import InfrastructureFault, UserError
from rollin.evaluation import official
from rollin.messages import Message, offering
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store import Exit, Label, LabelSource, LabelStatus, Purpose, State, Store
from rollin.store.export import Predictions, predictions, write_predictions, write_turns
from rollin.tasks.published.reading import Source, read
from rollin.tasks.schema import Task

PATCH = "diff --git a/calc.py b/calc.py\n--- a/calc.py\n+++ b/calc.py\n@@ -1 +1 @@\n-x = 1\n+x = 2\n"
BASH = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object", "properties": {}}}}


def published(folder: Path, *rows: dict[str, Any], source: str = "SWE-bench/SWE-bench_Verified") -> list[Task]:
    found = [row for row in read(Source(str(write(folder / "rows.jsonl", *rows)), True)) if isinstance(row, Task)]
    return [task.model_copy(update={"source": source}) for task in found]


def evaluated(store: Store, task: Task, iteration: int, patch: str | None, ended: Exit = Exit.SUBMITTED) -> None:
    name = {"iteration": iteration, "attempt": 0, "purpose": Purpose.EVAL, "policy": "student", "seed": 0}
    row = store.open_trajectory(task.instance_id, **name)  # type: ignore[arg-type]
    store.end_trajectory(row.id, ended, patch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Evaluations of iterations 0 and 2 on three tasks of SWE-bench Verified."""
    (tmp_path / "run").mkdir()
    with Store.create(tmp_path / "run" / "run.db", {"name": "my/run"}) as store:
        tasks = published(tmp_path, *(swe_bench(number) for number in range(3)))
        store.add_tasks(tasks)
        evaluated(store, tasks[0], 0, "")
        evaluated(store, tasks[0], 2, PATCH)
        evaluated(store, tasks[1], 2, PATCH, Exit.TURN_LIMIT)
        evaluated(store, tasks[2], 2, None, Exit.INFRASTRUCTURE_FAULT)
        yield store


def rollin(*arguments: object) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"DOCKER_HOST": "unix:///nowhere/docker.sock", "COLUMNS": "400"}
    command = [sys.executable, "-m", "rollin.cli", *map(str, arguments)]
    return subprocess.run(command, env=env, text=True, capture_output=True, check=False)


def test_predictions_are_read_by_swebench_itself(store: Store, tmp_path: Path) -> None:
    done = rollin("export", "predictions", store.path.parent)
    assert done.returncode == 0, done.stderr
    path = store.path.parent / "report" / "predictions-2.jsonl"
    assert f"{path}: 2 predictions, 1 of them without a patch" in done.stdout
    assert "left out, an infrastructure fault: astropy__astropy-2" in done.stdout
    utils = importlib.import_module("swebench.harness.utils")
    assert utils.get_predictions_from_file(str(path), "no data set is asked for", "test") == [
        {"instance_id": "astropy__astropy-0", "model_name_or_path": "my-run-iteration-2", "model_patch": PATCH},
        {"instance_id": "astropy__astropy-1", "model_name_or_path": "my-run-iteration-2", "model_patch": ""},
    ]


def test_an_iteration_is_chosen_and_one_without_evaluation_refused(store: Store) -> None:
    assert [row["model_patch"] for row in predictions(store, 0).rows] == [""]
    with pytest.raises(UserError, match=r"no evaluation of iteration 1; it has 0, 2"):
        predictions(store, 1)


def test_a_run_without_evaluation_has_no_predictions(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {}) as store, pytest.raises(UserError, match="holds no evaluation"):
        predictions(store)


def test_predictions_go_into_a_file_that_swebench_takes(store: Store, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"from \.jsonl files"):
        write_predictions(predictions(store).rows, tmp_path / "predictions.csv")


def test_turns_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    messages: list[Message] = [offering([BASH]), {"role": "user", "content": "repair é"}]
    calls = [{"id": "call_0", "type": "function", "function": {"name": "bash", "arguments": '{"command": "ls"}'}}]
    label = Label.of(Action("look", tool_calls=calls), LabelSource.BESIDE)  # type: ignore[arg-type]
    with Store.create(tmp_path / "run.db", {}) as store:
        store.add_tasks([make_task()])
        name: dict[str, Any] = {"iteration": 1, "purpose": Purpose.COLLECT, "policy": "student", "seed": 0}
        row = store.open_trajectory(make_task().instance_id, attempt=0, **name)
        store.record_turn(row.id, 0, State.of(messages), Actor.STUDENT, Action("guess", prompt_tokens=7), label, 0.0)
        messages += [{"role": "assistant", "content": "guess"}, {"role": "user", "content": "no"}]
        store.record_turn(row.id, 1, State.of(messages), Actor.TEACHER, Action("x"), Label(LabelStatus.MISSING), 0.0)
        store.open_trajectory(make_task().instance_id, attempt=1, **name)  # without turns
        assert write_turns(store, tmp_path / "deep" / "turns.parquet") == 2
        assert write_turns(store, tmp_path / "none.parquet", iteration=9) == 0
    first, second = parquet.read_table(tmp_path / "deep" / "turns.parquet").to_pylist()
    assert [(m["role"], m["content"]) for m in first["messages"]] == [("user", "repair é")]
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert json.loads(first["tools"]) == [BASH]
    assert (first["actor"], first["action"]["content"], first["prompt_tokens"]) == ("student", "guess", 7)
    assert (first["label"]["content"], json.loads(first["label"]["tool_calls"])) == ("look", calls)
    assert (first["label_status"], first["label_source"]) == ("ready", "beside")
    assert (second["actor"], second["label"], second["label_status"]) == ("teacher", None, "missing")
    assert (first["iteration"], first["attempt"], first["turn"], first["repo"]) == (1, 0, 0, "kata/roman")


def test_the_command_writes_parquet(store: Store, tmp_path: Path) -> None:
    done = rollin("export", "parquet", store.path.parent, "--out", tmp_path / "turns.parquet")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'turns.parquet'}: 0 turns\n")
    assert rollin("export", "parquet", tmp_path).returncode == 2
    for form in ("parquet", "predictions"):
        done = rollin("export", form, store.path.parent, "--out", store.path / "no.jsonl")
        assert (done.returncode, "File exists; choose another" in done.stderr) == (2, True)


# --- SWE-bench's own evaluation -------------------------------------------------------------------------------------


def test_without_a_docker_engine_it_is_one_sentence(store: Store) -> None:
    done = rollin("swebench", store.path.parent)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        "rollin: no Docker engine answers, and SWE-bench evaluates in containers: start one, or point DOCKER_HOST to it"
    )


def test_the_data_set_is_that_of_the_tasks(store: Store) -> None:
    assert official.job(predictions(store), None, None, 4, 60).dataset == "SWE-bench/SWE-bench_Verified"


@pytest.mark.parametrize(
    ("sources", "named", "complaint"),
    [
        (["kata"], None, "do not say which published data set"),
        (["SWE-bench/SWE-bench", "kata"], None, r"from several places \(SWE-bench/SWE-bench, kata\)"),
        (["SWE-Gym/SWE-Gym"], None, "swebench can't evaluate tasks of SWE-Gym/SWE-Gym"),
        (["kata"], "SWE-bench/SWE-smith", "swebench can't evaluate tasks of SWE-bench/SWE-smith"),
    ],
)
def test_what_swebench_cannot_evaluate_is_refused(sources: list[str], named: str | None, complaint: str) -> None:
    ids = [f"task-{number}" for number in range(len(sources))]
    rows: list[Any] = [{"instance_id": name, "model_name_or_path": "m", "model_patch": ""} for name in ids]
    found = Predictions(1, "m", rows, dict(zip(ids, sources, strict=True)), [])
    with pytest.raises(UserError, match=complaint):
        official.job(found, named, None, 4, 60)


def test_swebenchs_own_process_is_given_what_it_wants(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As far as it goes without containers: it reads data set and predictions, and then asks for an engine."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    rows = write(tmp_path / "verified.jsonl", *(swe_bench(number) for number in range(3)))
    job = official.job(predictions(store), str(rows), None, 1, 60)
    with pytest.raises(InfrastructureFault, match="ended with code 1"):
        official.evaluate(job, tmp_path / "swebench")
    assert "docker.errors.DockerException" in capfd.readouterr().err
    said = json.loads((tmp_path / "swebench" / "logs" / "run_evaluation" / "rollin" / "run.json").read_text())
    assert (said["dataset"], said["split"]) == (str(rows), "test")


# --- rollin tasks fetch ---------------------------------------------------------------------------------------------


def test_fetch_writes_a_task_file_and_says_what_it_did(tmp_path: Path) -> None:
    rows = write(
        tmp_path / "rows.parquet", *(swe_gym(number, "dask/dask") for number in range(6)), swe_gym(6, patch="?")
    )
    done = rollin("tasks", "fetch", rows, "--held-out", 2, "--part", "train", "--out", tmp_path / "train.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'train.jsonl'}: 4 tasks kept",
        "  left out 2: in the other part",
        f"{rows}: 1 skipped, its 'patch' is no patch: Project-MONAI__MONAI-6",
    ]
    again = rollin("tasks", "fetch", tmp_path / "train.jsonl", "--count", 1, "--out", tmp_path / "one.jsonl")
    assert "1 tasks kept" in again.stdout
    assert "4 tasks" in rollin("tasks", "list", tmp_path / "train.jsonl").stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nobody/nothing"], "the data set 'nobody/nothing' is not known"),
        (["gone.parquet"], "cannot read gone.parquet"),
        ([str(Path(__file__).parent)], "is not known"),
        (["gone.jsonl", "--part", "train"], "belong together"),
        (["gone.jsonl", "--part", "half", "--held-out", "2"], "part: input should be 'train' or 'held_out'"),
        (["gone.jsonl", "--split", "test"], "--split and --revision are for data sets on the hub"),
    ],
)
def test_a_fetch_that_cannot_be_is_one_sentence(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    done = rollin("tasks", "fetch", *arguments, "--out", tmp_path / "out.jsonl")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (2, 1)
    assert complaint in done.stderr
    assert not (tmp_path / "out.jsonl").exists()
