"""`rollin show`: trajectories and their turns, for people and for machines."""

import json
from pathlib import Path

import pytest
from report_room import act, attempt, beside, conversation, filled, on_paper, task
from typer.testing import CliRunner

from rollin.errors import UserError
from rollin.messages import Message
from rollin.mixture import Actor
from rollin.report.cli import export, looking
from rollin.report.viewer import news, show_run, show_trajectory, trajectories
from rollin.store import Exit, Purpose, Store
from rollin.tasks.schema import Family


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path)


def test_trajectories_are_filtered(store: Store) -> None:
    assert [line.id for line in trajectories(store)] == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert [line.id for line in trajectories(store, iteration=0, resolved=False)] == [2]  # the fault is not among them
    assert [line.id for line in trajectories(store, purpose=Purpose.COLLECT, resolved=True)] == [4]
    first = next(trajectories(store, iteration=1))
    assert (first.turns, first.teacher_turns, first.exit, first.resolved) == (4, 1, "submitted", True)
    assert (first.family, first.purpose) == ("visible", "collect")


def test_the_list_reads_the_same_for_machines(store: Store) -> None:
    console, paper = on_paper()
    show_run(store, console, purpose=Purpose.COLLECT, as_json=True)
    lines = [json.loads(line) for line in paper.getvalue().splitlines()]
    assert [(line["id"], line["exit"], line["resolved"]) for line in lines] == [
        (4, "submitted", True),
        (8, None, None),
        (9, "submitted", None),
    ]
    console, paper = on_paper()
    show_run(store, console, purpose=Purpose.COLLECT)
    assert "under way" in paper.getvalue()


def test_eighty_columns_do_for_the_list(store: Store) -> None:
    name = "kata-a-rather-long-name-0123456789"
    store.add_tasks([task("a").model_copy(update={"instance_id": name, "family": Family.REGRESSION})])
    attempt(store, name, 12, Purpose.COLLECT, Exit.INFRASTRUCTURE_FAULT)
    console, paper = on_paper(80)
    show_run(store, console, iteration=12)
    whole = "".join(paper.getvalue().split())
    for part in ("regression", "collect", "teacher", "resolved", "infrastructure", "fault"):
        assert part in whole, part
    assert "…" not in whole


@pytest.mark.parametrize("width", [60, 200])
def test_a_trajectory_is_shown_turn_by_turn(store: Store, width: int) -> None:
    console, paper = on_paper(width)
    show_trajectory(store, 4, console)
    shown = paper.getvalue()
    for part in ("You repair.", "Mend it.", "saw 0", "saw 2", "teacher", "student", "do 3"):
        assert shown.count(part) >= 1, part
    assert shown.count("saw 0") == 1  # each observation once, though every later state holds it
    assert shown.count("look first") == 1
    assert shown.count("the label is the same") == 1
    assert shown.count("no label: the teacher failed") == 1
    assert "submitted, resolved" in shown
    assert "+++ b/x" in shown
    assert "by hand" in shown


def test_one_under_way_is_shown_too(store: Store) -> None:
    console, paper = on_paper()
    show_trajectory(store, 8, console)
    assert "still under way" in paper.getvalue()
    assert "the label is not there yet" in paper.getvalue()


def test_what_an_agent_wrote_cannot_steer_the_terminal(store: Store) -> None:
    row = store.trajectory(8)
    act(store, row, 1, Actor.STUDENT, beside("\x1b[2Jwipe"), said="[bold]x[/bold] \x1b]0;t\x07")
    console, paper = on_paper()
    show_trajectory(store, 8, console)
    assert "[bold]x[/bold]" in paper.getvalue()
    assert "wipe" in paper.getvalue()
    assert "\x1b" not in paper.getvalue()


def test_a_trajectory_for_machines_is_whole(store: Store) -> None:
    console, paper = on_paper(40)
    show_trajectory(store, 4, console, as_json=True)
    whole = json.loads(paper.getvalue())
    assert (whole["exit"], whole["resolved"], len(whole["turns"])) == ("submitted", True, 4)
    assert whole["turns"][2]["label"]["text"] == "look first"
    assert whole["turns"][3]["messages"] == conversation(3)


def test_an_unknown_trajectory_is_answered_with_those_there_are(store: Store) -> None:
    with pytest.raises(UserError, match=r"has no trajectory 77; its numbers go from 1 to 9"):
        show_trajectory(store, 77, on_paper()[0])


def test_a_rewritten_conversation_is_shown_whole() -> None:
    assert news(conversation(1), conversation(1)) == []
    before: list[Message] = [*conversation(0), {"role": "assistant", "content": "do 0"}]
    assert news(before, conversation(1)) == conversation(1)[-1:]
    assert news(conversation(1), conversation(0)) == conversation(0)


def test_an_iteration_past_all_numbers_is_refused(store: Store) -> None:
    asked = [str(store.path.parent), "--iteration", 23 * "9"]
    assert CliRunner().invoke(looking, ["show", *asked]).exit_code == 2
    assert CliRunner().invoke(export, ["parquet", *asked]).exit_code == 2


def test_a_path_is_printed_as_it_is(store: Store, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(export, ["parquet", str(store.path.parent), "--out", str(tmp_path / "[bold].parquet")])
    assert "[bold].parquet" in outcome.stdout.replace("\n", "")
