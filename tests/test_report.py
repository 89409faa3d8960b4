"""The report: exact numbers from a store filled by hand, at any stage of a run, and nothing that a cell can break."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from report_room import act, attempt, empty, executed, filled, on_paper, task

from rollin.errors import UserError
from rollin.evaluation.rate import Rate, first_of_each_group
from rollin.mixture import Actor
from rollin.report.measures import Cost
from rollin.report.plot import plot
from rollin.report.summary import Summary
from rollin.report.tables import Table, printable
from rollin.report.viewer import show_run, show_trajectory
from rollin.store import Exit, Label, LabelStatus, Purpose, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return filled(tmp_path)


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
