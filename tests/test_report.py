"""The report: exact numbers from a store filled by hand, at any stage of a run, and nothing that a cell can break."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from scripted import make_task
from typer.testing import CliRunner

from rollin.errors import UserError
from rollin.evaluation.rate import Rate, first_of_each_group
from rollin.messages import Message
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.report.cli import export, looking
from rollin.report.measures import Cost
from rollin.report.plot import plot, series
from rollin.report.summary import Summary
from rollin.report.tables import Table, printable
from rollin.report.viewer import news, show_run, show_trajectory, trajectories
from rollin.store import EvaluationRow, Exit, Label, LabelSource, LabelStatus, Phase, Purpose, Store, TrajectoryRow
from rollin.store.states import State
from rollin.tasks.schema import Family, Task

RECIPE = {
    "name": "tiny|run",
    "method": {"name": "dagger"},
    "iterations": 2,
    "student": {"model": "smollm2-135m"},
    "teacher": {"kind": "expert"},
}
TASKS = {
    "a": Family.VISIBLE,
    "b": Family.VISIBLE,
    "c": Family.REGRESSION,
}


def task(name: str) -> Task:
    return make_task(name).model_copy(update={"source": "kata", "family": TASKS[name]})


def empty(path: Path) -> Store:
    store = Store.create(path / "run.db", RECIPE)
    store.add_tasks(task(name) for name in TASKS)
    return store


def attempt(
    store: Store,
    name: str,
    iteration: int,
    purpose: Purpose,
    ended_by: Exit | None,
    resolved: bool | None = None,
    policy: str = "student",
) -> TrajectoryRow:
    row = store.open_trajectory(name, iteration=iteration, attempt=0, purpose=purpose, policy=policy, seed=0)
    if ended_by is not None:
        store.end_trajectory(row.id, ended_by, "--- a/x\n+++ b/x\n")
    if resolved is not None:
        store.grade_trajectory(row.id, resolved, {"graded": "by hand"})
    return row


def conversation(turn: int) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": "You repair."}, {"role": "user", "content": "Mend it."}]
    for k in range(turn):
        messages += [{"role": "assistant", "content": f"do {k}"}, {"role": "user", "content": f"saw {k}"}]
    return messages


def act(store: Store, row: TrajectoryRow, turn: int, actor: Actor, label: Label, said: str = "") -> None:
    action = Action(said or f"do {turn}", prompt_tokens=100, completion_tokens=10, seconds=0.5)
    store.record_turn(row.id, turn, State.of(conversation(turn)), actor, action, label, started=0.0)


def beside(text: str) -> Label:
    return Label.of(Action(text, prompt_tokens=100, completion_tokens=7, seconds=2.0), LabelSource.BESIDE)


def executed(turn: int) -> Label:
    return Label.of(Action(f"do {turn}"), LabelSource.EXECUTED)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Evaluated before; iteration 1 done; iteration 2 stopped in the middle."""
    store = empty(tmp_path)
    store.begin_iteration(0)
    for name, ended_by, resolved in (
        ("a", Exit.SUBMITTED, True),
        ("b", Exit.TURN_LIMIT, False),
        ("c", Exit.INFRASTRUCTURE_FAULT, None),
    ):
        row = attempt(store, name, 0, Purpose.EVAL, ended_by, resolved)
        act(store, row, 0, Actor.STUDENT, Label(LabelStatus.NOT_WANTED))
    store.record_evaluation(EvaluationRow(0, "smollm2-135m", "student", "eval", 2, 1, 1, {}))
    store.advance_iteration(0, Phase.DONE)

    store.begin_iteration(1, beta=0.5)
    first = attempt(store, "a", 1, Purpose.COLLECT, Exit.SUBMITTED, True)
    act(store, first, 0, Actor.TEACHER, executed(0))
    act(store, first, 1, Actor.STUDENT, beside("do 1"))
    act(store, first, 2, Actor.STUDENT, beside("look first"))
    act(store, first, 3, Actor.STUDENT, Label(LabelStatus.MISSING))
    training = {"loss": 0.25, "label_tokens": 1234, "packed_tokens": 5000, "separate_tokens": 20000, "seconds": 61.4}
    store.advance_iteration(1, Phase.EVALUATING, metrics={"training": training})
    for name in TASKS:
        attempt(store, name, 1, Purpose.EVAL, Exit.SUBMITTED, True)
    store.advance_iteration(1, Phase.DONE)

    store.begin_iteration(2, beta=0.0)
    under_way = attempt(store, "b", 2, Purpose.COLLECT, None)
    act(store, under_way, 0, Actor.STUDENT, Label(LabelStatus.PENDING))
    attempt(store, "c", 2, Purpose.COLLECT, Exit.SUBMITTED)  # its grade is not there yet
    return store


def on_paper(width: int = 200) -> tuple[Console, io.StringIO]:
    paper = io.StringIO()
    return Console(file=paper, width=width, color_system=None), paper


def test_rates_are_by_group_with_faults_in_none(store: Store) -> None:
    before, after = Summary.of(store).evaluations
    assert (before.title, before.overall) == ("before", Rate(1, 2, faults=1))
    assert before.groups == {"kata regression": Rate(0, 0, faults=1), "kata visible": Rate(1, 2)}
    assert (after.title, after.overall) == ("iteration 1", Rate(3, 3))
    rates = Summary.of(store).tables()[0]
    assert list(rates.rows) == [
        ["kata regression", "-, 1 fault", "100.0% (1/1, 20.7-100.0%)"],
        ["kata visible", "50.0% (1/2, 9.5-90.5%)", "100.0% (2/2, 34.2-100.0%)"],
        ["overall", "50.0% (1/2, 9.5-90.5%), 1 fault", "100.0% (3/3, 43.9-100.0%)"],
    ]


def test_the_first_of_each_group_are_in_their_order() -> None:
    tasks = [task(name) for name in "cab"]
    assert first_of_each_group(tasks, 1) == tasks[:2]
    assert first_of_each_group(tasks, 2) == tasks


def test_exits_are_counted_by_evaluation(store: Store) -> None:
    before, _ = Summary.of(store).evaluations
    assert {exit_.value: n for exit_, n in before.exits.items() if n} == {
        "submitted": 1,
        "turn_limit": 1,
        "infrastructure_fault": 1,
    }
    assert [row[:3] for row in Summary.of(store).tables()[1].rows[:3]] == [
        ["submitted", "1", "3"],
        ["turn limit", "1", "0"],
        ["infrastructure fault", "1", "0"],
    ]


def test_an_iteration_tells_who_acted_and_who_agreed(store: Store) -> None:
    first, _ = Summary.of(store).iterations
    tally = first.tally
    assert (tally.turns, tally.teacher_turns, tally.labels, tally.labels_missing) == (4, 1, 3, 1)
    assert (tally.teacher_share, tally.agreement) == (0.25, 0.5)
    assert (first.training.loss, first.training.packed_tokens, first.training.separate_tokens) == (0.25, 5000, 20000)
    assert (first.trajectories, first.collected) == (1, Rate(1, 1))


def test_a_label_that_was_of_no_use_is_shown_and_counted_as_missing(store: Store) -> None:
    row = attempt(store, "c", 1, Purpose.COLLECT, Exit.SUBMITTED, True)
    act(store, row, 0, Actor.STUDENT, Label(LabelStatus.INVALID))
    assert Summary.of(store).iterations[0].tally.labels_missing == 2
    console, paper = on_paper()
    show_trajectory(store, row.id, console)
    assert "no label: what the teacher said was of no use" in paper.getvalue()


def test_what_is_under_way_is_in_no_rate(store: Store) -> None:
    second = Summary.of(store).iterations[1]
    assert (second.trajectories, second.under_way, second.collected) == (2, 2, Rate(0, 0))
    assert (second.training.loss, second.tally.agreement, second.tally.labels_missing) == (None, None, 1)
    assert Summary.of(store).about.endswith("unfinished: iteration 2 of 2 is collecting")


def test_costs_are_apart_by_who_asked_whom(store: Store) -> None:
    assert Summary.of(store).costs == {
        "teacher, acting": Cost(1, 100, 10, 0.5),
        "teacher, labelling beside": Cost(2, 200, 14, 4.0),
        "student, collecting": Cost(4, 400, 40, 2.0),
        "student, evaluating": Cost(3, 300, 30, 1.5),
    }


def test_probing_costs_too(store: Store) -> None:
    act(store, attempt(store, "a", 1, Purpose.PROBE, Exit.SUBMITTED), 0, Actor.STUDENT, Label(LabelStatus.NOT_WANTED))
    assert Summary.of(store).costs["student, probing"] == Cost(1, 100, 10, 0.5)


def test_what_the_teacher_said_of_no_use_costs_too(store: Store) -> None:
    before = Summary.of(store).costs
    row = store.open_trajectory("b", iteration=1, attempt=1, purpose=Purpose.COLLECT, policy="student", seed=0)
    paid = {"seconds": 2.0, "prompt_tokens": 300, "completion_tokens": 21}
    act(store, row, 0, Actor.STUDENT, Label(LabelStatus.INVALID, **paid))
    act(store, row, 1, Actor.TEACHER, replace(executed(1), **paid))
    assert before | Summary.of(store).costs == before | {
        "teacher, acting": Cost(3, 500, 41, 3.0),
        "teacher, labelling beside": Cost(3, 500, 35, 6.0),
        "student, collecting": Cost(5, 500, 50, 2.5),
    }


def test_the_teachers_own_evaluation_stands_last(store: Store) -> None:
    attempt(store, "a", 0, Purpose.EVAL, Exit.SUBMITTED, True, policy="expert")
    assert [evaluation.title for evaluation in Summary.of(store).evaluations] == ["before", "iteration 1", "expert"]


def test_a_run_without_anything_has_a_report(tmp_path: Path) -> None:
    with empty(tmp_path) as store:
        console, paper = on_paper()
        Summary.of(store).render(console)
        assert "not begun" in paper.getvalue()
        assert "Nothing has been recorded yet." in Summary.of(store).to_markdown()
        assert plot(store, tmp_path / "report" / "result.png").stat().st_size > 0
        show_run(store, console)
        with pytest.raises(UserError, match="no trajectories yet"):
            show_trajectory(store, 1, console)


def test_a_run_that_has_just_begun_has_a_report(tmp_path: Path) -> None:
    with empty(tmp_path) as store:
        store.begin_iteration(0)
        attempt(store, "a", 0, Purpose.EVAL, None)
        summary = Summary.of(store)
        assert (summary.evaluations[0].under_way, summary.evaluations[0].overall) == (1, Rate(0, 0))
        assert "unfinished: evaluating before training" in summary.to_markdown()
        plot(store, tmp_path / "result.png")


def test_terminal_and_markdown_show_the_same_cells(store: Store) -> None:
    console, paper = on_paper()
    summary = Summary.of(store)
    summary.render(console)
    for table in summary.tables():
        for cell in (cell for row in table.rows for cell in row):
            assert cell in paper.getvalue()
            assert cell.replace("|", r"\|") in summary.to_markdown()


def test_nothing_in_a_cell_breaks_a_table() -> None:
    table = Table("t", ["x", "n"], [["a|b\n<b>*c*_d_[e](f)`g`\\", "\x1b[31mred\x1b[0m\x07\ud800"]])
    row = table.to_markdown().splitlines()[4]
    assert row == r"| a\|b \<b\>\*c\*\_d\_\[e\](f)\`g\`\\ | red�� |"
    console, paper = on_paper()
    console.print(table.to_rich())
    assert "[e](f)" in paper.getvalue()
    assert "\x1b" not in paper.getvalue()


def test_markup_and_escapes_in_the_recipe_are_only_text(tmp_path: Path) -> None:
    with Store.create(tmp_path / "run.db", {"name": "[red]x[/nope] |\x1b]0;title\x07", "iterations": 1}) as store:
        console, paper = on_paper()
        Summary.of(store).render(console)
        assert "[red]x[/nope] |" in paper.getvalue()
        assert r"# \[red\]x\[/nope\] \|" in Summary.of(store).to_markdown()


def test_printable_keeps_text_and_drops_what_steers_a_terminal() -> None:
    assert printable("a\tb\r\nc é 漢 \x1b[2J\x1b[1;31mred\x1b[0m") == "a\tb\nc é 漢 red"
    assert printable("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\") == "link"


def test_the_plot_is_a_picture_of_its_size(store: Store, tmp_path: Path) -> None:
    path = plot(store, tmp_path / "report" / "result.png")
    assert path == tmp_path / "report" / "result.png"
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (1440, 608))
        assert len(image.convert("RGB").getcolors(1 << 20) or []) > 20
    bars = path.read_bytes()
    attempt(store, "a", 2, Purpose.EVAL, Exit.SUBMITTED, False)
    assert plot(store, path).read_bytes() != bars


def test_a_source_that_looks_like_a_formula_is_drawn_as_it_is(store: Store, tmp_path: Path) -> None:
    odd = task("a").model_copy(update={"instance_id": "odd", "source": r"a$\frac$"})
    store.add_tasks([odd])
    for iteration in (0, 2):
        attempt(store, "odd", iteration, Purpose.EVAL, Exit.SUBMITTED, True)
        plot(store, tmp_path / "result.png")


@pytest.mark.parametrize(
    ("losses", "below", "above"),
    [([0.5, 2.0], 0, 2.0), ([-0.5, 0.25], -0.5, 0.25), ([-2.0, -1.0], -2.0, 0), ([0.0], 0, 0)],
)
def test_the_plot_of_the_loss_shows_every_point(losses: list[float], below: float, above: float) -> None:
    axes = Figure().add_subplot()
    series(axes, [*enumerate(losses, 1)], "black", "nothing")
    bottom, top = axes.get_ylim()
    assert bottom <= below
    assert bottom < top
    assert above <= top


def test_a_plot_that_cannot_be_written_is_one_sentence(store: Store, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file")
    with pytest.raises(UserError, match="cannot write the plot"):
        plot(store, tmp_path / "report" / "result.png")


def test_an_iteration_past_all_numbers_is_refused(store: Store) -> None:
    asked = [str(store.path.parent), "--iteration", 23 * "9"]
    assert CliRunner().invoke(looking, ["show", *asked]).exit_code == 2
    assert CliRunner().invoke(export, ["parquet", *asked]).exit_code == 2


def test_a_path_is_printed_as_it_is(store: Store, tmp_path: Path) -> None:
    outcome = CliRunner().invoke(export, ["parquet", str(store.path.parent), "--out", str(tmp_path / "[bold].parquet")])
    assert "[bold].parquet" in outcome.stdout.replace("\n", "")


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


def test_a_run_is_read_while_another_process_writes_it(store: Store) -> None:
    reading = (
        "import io, sys; from pathlib import Path; from rich.console import Console; from rollin.store import Store\n"
        "from rollin.report.viewer import show_run, show_trajectory\n"
        "console = Console(width=120)\n"
        "with Store.read(Path(sys.argv[1])) as store: show_run(store, console); show_trajectory(store, 10, console)"
    )
    row = attempt(store, "a", 2, Purpose.COLLECT, None)  # this process holds the writer's lock
    act(store, row, 0, Actor.TEACHER, executed(0))
    outcome = subprocess.run([sys.executable, "-c", reading, str(store.path)], capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    assert "still under way" in outcome.stdout
