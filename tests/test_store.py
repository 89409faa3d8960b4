"""The store: committed means kept, states share prefixes, bad files give one sentence."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import make_task
from store_room import PENDING, begin, conversation, state

from rollin.errors import InfrastructureFault, UserError
from rollin.messages import Function, Message, ToolCall
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store import EvaluationRow, Exit, Label, LabelSource, LabelStatus, Phase, Purpose, Store
from rollin.store.states import State
from rollin.tasks.schema import Task


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "run.db", {"method": "dagger"}) as store:
        store.add_tasks([make_task()])
        yield store


def count(store: Store, table: str) -> int:
    with sqlite3.connect(store.path) as db:
        return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def test_a_task_of_which_only_the_name_was_known_gets_its_statement_and_keeps_it(tmp_path: Path) -> None:
    named = Task.bare("mine-1")
    with Store.create(tmp_path / "run.db", {}) as store:
        for task in (named, Task.bare("mine-1", problem_statement="It fails."), named, Task.bare("mine-1", repo="x/y")):
            store.add_tasks([task])
        assert store.task("mine-1").problem_statement == "It fails."
        assert store.task("mine-1").repo == ""


def test_a_turn_comes_back_as_it_was_recorded(store: Store) -> None:
    action = Action("ls", "length", 120, 3, token_ids=[5, 151643, 2], logprobs=[-0.5, -1.25, 0.0], seconds=0.25)
    label = Label.of(Action("cat x", prompt_tokens=9, completion_tokens=4, seconds=1.5), LabelSource.BESIDE)
    recorded = store.record_turn(begin(store).id, 0, state(0), Actor.STUDENT, action, label, started=3.5)
    assert store.turns(recorded.trajectory_id) == [recorded]
    assert (recorded.action, recorded.label) == (action, label)
    assert (label.text, label.prompt_tokens, label.completion_tokens, label.seconds) == ("cat x", 9, 4, 1.5)


def test_a_state_is_its_messages(store: Store) -> None:
    trajectory = begin(store)
    for turn in range(5):
        store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a"), PENDING, 0)
    states = [turn.state_id for turn in store.turns(trajectory.id)]
    assert [store.state_messages(number) for number in states] == [conversation(turn) for turn in range(5)]


ROLES = st.sampled_from(["user", "assistant"])
SAID = st.builds(lambda role, content: Message(role=role, content=content), ROLES, st.text(max_size=2))


@given(st.lists(st.lists(SAID, max_size=4), max_size=4))
def test_a_conversations_keys_are_its_own_whatever_was_known_before(conversations: list[list[Message]]) -> None:
    known, of_key = State(), dict[bytes, list[Message]]()
    for messages in conversations:
        known = known.then(messages)
        assert known == State.of(messages)
        assert known.keys == [State.of(messages[:length]).key for length in range(len(messages) + 1)]
        assert of_key.setdefault(known.key, messages) == messages


def test_a_named_message_keeps_its_name(store: Store) -> None:
    messages: list[Message] = [{"role": "user", "content": "hi", "name": "ann"}]
    turn = store.record_turn(begin(store).id, 0, State.of(messages), Actor.STUDENT, Action("a"), PENDING, 0)
    assert store.state_messages(turn.state_id) == messages


def test_shared_prefixes_are_stored_once(store: Store) -> None:
    """30 turns of two trajectories: 2 + 2 * 29 messages, the empty state, and one branch at the end."""
    for attempt in range(2):
        trajectory = begin(store, attempt)
        for turn in range(30):
            store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a"), PENDING, 0)
    branch = [*conversation(28), *conversation(30)[-1:]]
    store.record_turn(begin(store, 2).id, 0, State.of(branch), Actor.STUDENT, Action("a"), PENDING, 0)
    assert count(store, "messages") == 60 + 1
    assert count(store, "states") == 1 + 60 + 1


def test_the_same_message_after_another_history_is_another_state(store: Store) -> None:
    rows = [
        store.record_turn(begin(store, k).id, 0, state(2, task), Actor.STUDENT, Action("a"), PENDING, 0)
        for k, task in enumerate(["one", "two"])
    ]
    assert rows[0].state_id != rows[1].state_id
    assert count(store, "messages") == 7


def test_a_turn_is_recorded_once(store: Store) -> None:
    trajectory = begin(store)
    store.record_turn(trajectory.id, 0, state(0), Actor.STUDENT, Action("a"), PENDING, 0)
    with pytest.raises(sqlite3.IntegrityError):
        store.record_turn(trajectory.id, 0, state(1), Actor.STUDENT, Action("b"), PENDING, 0)
    assert [turn.action.content for turn in store.turns(trajectory.id)] == ["a"]
    assert count(store, "messages") == 2, "the refused turn left its messages behind"


def test_a_trajectory_is_found_again_by_its_name(store: Store) -> None:
    first = begin(store)
    assert begin(store) == first
    assert begin(store, attempt=1).id != first.id
    assert begin(store, purpose=Purpose.EVAL).id != first.id


def test_a_trajectory_ends_is_graded_and_reopened(store: Store) -> None:
    trajectory = begin(store)
    ended = store.end_trajectory(trajectory.id, Exit.SUBMITTED, "--- a\n+++ b\n")
    store.grade_trajectory(trajectory.id, True, {"passed": ["test_four"]})
    graded = store.trajectory(trajectory.id)
    assert (ended.exit, ended.patch) == (Exit.SUBMITTED, "--- a\n+++ b\n")
    assert (graded.resolved, graded.grade) == (True, {"passed": ["test_four"]})
    assert store.reopen_trajectory(trajectory.id) == trajectory


def test_what_ends_and_is_judged_at_once_is_committed_at_once(store: Store) -> None:
    trajectory = begin(store)
    ended = store.end_trajectory(trajectory.id, Exit.SUBMITTED, resolved=True, grade={"judged_by": "environment"})
    assert (ended.exit, ended.resolved, ended.grade) == (Exit.SUBMITTED, True, {"judged_by": "environment"})


def test_what_is_trained_on_comes_in_the_same_order_whoever_began_first(store: Store) -> None:
    for attempt in (2, 0, 1):
        trajectory = begin(store, attempt)
        label = Label.of(Action(f"b{attempt}"), LabelSource.BESIDE)
        for turn in range(2):
            store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a"), label, 0)
    assert [turn.label.text for turn in store.collected_turns(1)] == ["b0", "b0", "b1", "b1", "b2", "b2"]


def test_labels_arrive_later(store: Store) -> None:
    trajectory = begin(store)
    for turn in range(3):
        store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a"), PENDING, 0)
    first, second, _ = store.turns(trajectory.id)
    store.record_label(first.id, Label.of(Action("b"), LabelSource.BESIDE))
    store.record_label(second.id, Label(LabelStatus.MISSING))
    counts = store.label_counts(1)
    assert [counts[status] for status in (LabelStatus.READY, LabelStatus.MISSING, LabelStatus.PENDING)] == [1, 1, 1]
    assert [(turn.turn, turn.label.text) for turn in store.collected_turns(1)] == [(0, "b"), (1, None), (2, None)]
    assert store.collected_turns(2) == []


def test_iterations_and_evaluations(store: Store) -> None:
    assert store.begin_iteration(1, beta=1.0).phase is Phase.COLLECTING
    store.advance_iteration(1, Phase.TRAINING, checkpoint="checkpoints/1", metrics={"loss": 0.5})
    store.advance_iteration(1, Phase.DONE, metrics={"resolved": 3})
    assert store.begin_iteration(1).phase is Phase.DONE
    (row,) = store.iterations()
    assert (row.checkpoint, row.metrics, row.beta) == ("checkpoints/1", {"loss": 0.5, "resolved": 3}, 1.0)
    assert row.ended is not None
    for resolved in (3, 4):
        store.record_evaluation(EvaluationRow(1, "checkpoints/1", "student", "eval", 10, resolved, 1, {}))
    assert [e.resolved for e in store.evaluations()] == [4]


def test_tasks_and_the_recipe_come_back(store: Store) -> None:
    assert store.tasks() == [make_task()] == [store.task("kata-roman-1")]
    assert store.recipe() == {"method": "dagger"}


def test_two_actions_agree_whatever_their_calls_are_numbered(store: Store) -> None:
    def call(number: str, command: str) -> ToolCall:
        return {"id": number, "type": "function", "function": {"name": "bash", "arguments": json.dumps({"c": command})}}

    trajectory = begin(store)
    for turn, (acted, taught) in enumerate([("ls", "ls"), ("ls", "cat x"), ("ls", None)]):
        calls = [call(f"call_{turn}_0", acted)]
        labelled = Action("", tool_calls=[call("fc_77", taught)] if taught else [])
        label = Label.of(labelled, LabelSource.BESIDE)
        store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("", tool_calls=calls), label, 0)
    with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as db:
        assert [row[0] for row in db.execute("SELECT agrees FROM turn_view ORDER BY turn")] == [1, 0, 0]


@pytest.mark.parametrize(
    ("one", "other", "agrees"),
    [
        ('{"c":"ls", "n": 1}', '{"c": "ls","n":1}', True),
        ('{"c": "ls", "n": 1}', '{"c": "ls", "n": 2}', False),
        ("ls", "ls", True),
        ("ls", "'ls'", False),
    ],
)
def test_calls_agree_by_what_their_arguments_say(store: Store, one: str, other: str, agrees: bool) -> None:
    """In Python and in SQL, also of a run that an older rollin made."""

    def said(arguments: str) -> Action:
        return Action(
            "", tool_calls=[ToolCall(id="c", type="function", function=Function(name="b", arguments=arguments))]
        )

    label = Label.of(said(other), LabelSource.BESIDE)
    assert label.agrees(said(one)) is agrees
    store.record_turn(begin(store).id, 0, state(0), Actor.STUDENT, said(one), label, 0)
    store.close()
    with sqlite3.connect(store.path) as db:
        db.executescript("DROP VIEW turn_view; CREATE VIEW turn_view AS SELECT 7 AS agrees;")
    Store.resume(store.path).close()
    with sqlite3.connect(f"file:{store.path}?mode=ro", uri=True) as db:
        assert db.execute("SELECT agrees FROM turn_view").fetchall() == [(int(agrees),)]


def test_the_views_read_in_plain_sql(store: Store) -> None:
    trajectory = begin(store)
    label = Label.of(Action("a"), LabelSource.EXECUTED)
    store.record_turn(trajectory.id, 0, state(1), Actor.TEACHER, Action("a"), label, 0)
    store.end_trajectory(trajectory.id, Exit.TURN_LIMIT)
    with sqlite3.connect(store.path) as db:
        turn = db.execute("SELECT instance_id, actor, observed, action, label, agrees FROM turn_view").fetchall()
        row = db.execute("SELECT exit, turns, teacher_turns, labels, labels_missing FROM trajectory_view").fetchall()
    assert turn == [("kata-roman-1", "teacher", "saw 0", "a", "a", 1)]
    assert row == [("turn_limit", 1, 1, 1, 0)]


def test_the_examples_in_the_documentation_run(store: Store) -> None:
    page = (Path(__file__).parent.parent / "docs" / "store.md").read_text()
    queries = [block.split("```")[0] for block in page.split("```sql\n")[1:]]
    assert len(queries) >= 5
    with sqlite3.connect(store.path) as db:
        for query in queries:
            db.execute(query).fetchall()


def test_threads_write_at_once(store: Store) -> None:
    def write(attempt: int) -> None:
        trajectory = begin(store, attempt)
        for turn in range(20):
            store.record_turn(trajectory.id, turn, state(turn), Actor.STUDENT, Action("a"), PENDING, 0)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(store, "turns") == 160


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_store import *
store = Store.create(Path(sys.argv[1]), {})
store.add_tasks([make_task()])
trajectory = begin(store)
for turn in range(100_000):
    store.record_turn(trajectory.id, turn, state(turn % 40), Actor.STUDENT, Action(str(turn)), PENDING, 0)
    print(turn, flush=True)
"""


def test_what_was_committed_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    command = [sys.executable, "-c", WRITER, str(path), str(Path(__file__).parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        said = [writer.stdout.readline() for _ in range(50)]
        os.kill(writer.pid, signal.SIGKILL)
        said += writer.stdout.readlines()
    committed = len([line for line in said if line.endswith("\n")])
    with Store.resume(path) as store:
        turns = store.turns(1)
        assert len(turns) in (committed, committed + 1)
        assert [turn.action.content for turn in turns] == [str(k) for k in range(len(turns))]
        assert store.state_messages(turns[-1].state_id) == conversation(turns[-1].turn % 40)


def test_one_process_writes_and_others_read(store: Store) -> None:
    with pytest.raises(UserError, match=f"being written by process {os.getpid()}"):
        Store.resume(store.path)
    begin(store)
    with Store.read(store.path) as reader:
        assert len(reader.trajectories()) == 1
        with pytest.raises(InfrastructureFault):
            reader.begin_iteration(1)


def test_ten_thousand_turns_are_no_burden(store: Store) -> None:
    """200 trajectories of 50 turns; the median turn is far under a millisecond where nothing else runs."""
    seconds = []
    for attempt in range(200):
        trajectory = begin(store, attempt)
        for turn in range(50):
            messages = conversation(turn, f"task {attempt}")
            begun = time.perf_counter()
            store.record_turn(trajectory.id, turn, State.of(messages), Actor.STUDENT, Action("a"), PENDING, 0)
            seconds.append(time.perf_counter() - begun)
    assert count(store, "turns") == 10_000
    assert sorted(seconds)[5000] < 0.005
