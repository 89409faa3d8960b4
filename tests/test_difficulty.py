"""How many turns the expert takes: real trajectories on tasks that are built here."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rollin.errors import UserError
from rollin.tasks.build import Order, build
from rollin.tasks.cli import app
from rollin.tasks.schema import Family, Split, Task, read_tasks, write_tasks


def test_measuring_writes_the_experts_turns_and_leaves_faults_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLIN_CACHE", str(tmp_path / "cache"))
    (task,) = build(Order("kata", Family.VISIBLE, Split.EVAL, 1, faults=1), tmp_path / "cache").tasks
    unsolvable = task.model_copy(update={"instance_id": "unsolvable", "FAIL_TO_PASS": ["no_such_test.py::test_it"]})
    path, said = tmp_path / "tasks.jsonl", ["measure", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "run")]
    lines = [task.model_dump(mode="json") | {"mine": "\u00e9"}, unsolvable.model_dump(mode="json")]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = CliRunner().invoke(app, said, catch_exceptions=False)
    assert "resolved 50.0% (1/2;" in done.output
    measured, never = read_tasks(path)
    assert measured.expert_turns is not None
    assert 2 <= measured.expert_turns <= 10
    assert never.expert_turns is None
    assert json.loads(path.read_text().splitlines()[0]) == lines[0] | {"expert_turns": measured.expert_turns}
    monkeypatch.setattr("rollin.sandboxes.bubblewrap.CHECK_OUT", "exit 1")  # no sandbox can be had any more
    write_tasks(path, [task.model_copy(update={"instance_id": "unlucky", "expert_turns": 7})])
    assert "(0/0, 1 faults" in CliRunner().invoke(app, said, catch_exceptions=False).output
    assert read_tasks(path)[0].expert_turns == 7


def test_two_tasks_of_one_id_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    for number, file in enumerate(files):
        write_tasks(file, [Task.bare("mine-1", problem_statement=str(number))])
    said = ["measure", *map(str, files), "--out", str(tmp_path / "run")]
    with pytest.raises(UserError, match="two tasks have the id mine-1 and differ"):
        CliRunner().invoke(app, said, catch_exceptions=False)
    assert [read_tasks(file)[0].problem_statement for file in files] == ["0", "1"]
    assert not (tmp_path / "run").exists()
