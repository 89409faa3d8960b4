"""How many turns the expert takes: real trajectories on tasks that are built here."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rollin.tasks.build import Order, build
from rollin.tasks.cli import app
from rollin.tasks.schema import Family, Split, read_tasks, write_tasks


def test_measuring_writes_the_experts_turns_and_leaves_faults_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROLLIN_CACHE", str(tmp_path / "cache"))
    (task,) = build(Order("kata", Family.VISIBLE, Split.EVAL, 1, faults=1), tmp_path / "cache").tasks
    unsolvable = task.model_copy(update={"instance_id": "unsolvable", "FAIL_TO_PASS": ["no_such_test.py::test_it"]})
    path, said = tmp_path / "tasks.jsonl", ["measure", str(tmp_path / "tasks.jsonl"), "--out", str(tmp_path / "run")]
    write_tasks(path, [task, unsolvable])
    done = CliRunner().invoke(app, said, catch_exceptions=False)
    assert "resolved 50.0% (1/2;" in done.output
    measured, never = read_tasks(path)
    assert measured.expert_turns is not None
    assert 2 <= measured.expert_turns <= 10
    assert never.expert_turns is None
    monkeypatch.setattr("rollin.sandboxes.bubblewrap.CHECK_OUT", "exit 1")  # no sandbox can be had any more
    write_tasks(path, [task.model_copy(update={"instance_id": "unlucky", "expert_turns": 7})])
    assert "(0/0, 1 faults" in CliRunner().invoke(app, said, catch_exceptions=False).output
    assert read_tasks(path)[0].expert_turns == 7
