"""`Store`: what a run did, committed as it happens. The only place that speaks SQL, with its neighbours here."""

import json
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from rollin.errors import UserError
from rollin.messages import Message
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store import codec, database, states
from rollin.store.rows import (
    EvaluationRow,
    Exit,
    IterationRow,
    Label,
    LabelStatus,
    Phase,
    Purpose,
    Spent,
    TrajectoryRow,
    TurnRow,
)
from rollin.store.states import State
from rollin.tasks.schema import Task

DATABASE = "run.db"


def database_of(directory: Path) -> Path:
    """A run's `run.db`. UserError if the directory holds none."""
    path = directory / DATABASE
    if not path.is_file():
        raise UserError(f"{directory} is not a run: there is no {DATABASE} in it; check the path, or start one first")
    return path


class Store:
    """One run's `run.db`. Safe to use from any number of threads; one process writes, any number read.

    Raises InfrastructureFault where the disk fails, UserError where the file is damaged.
    """

    def __init__(self, path: Path, db: sqlite3.Connection, lock: database.WriterLock | None) -> None:
        """Use `create`, `resume` or `read`."""
        self.path = path
        self._db = db
        self._db.row_factory = sqlite3.Row
        self._writer = lock
        self._turnstile = threading.RLock()

    # --- opening ------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, path: Path, recipe: Mapping[str, object], tasks: Iterable[Task] = ()) -> Self:
        """Start a new run, with the tasks that it has from the beginning. UserError if `path` exists or cannot be
        written."""
        database.create(path, recipe, tasks)
        return cls.resume(path)

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Go on with a run. UserError if another process writes it, or another schema version made it."""
        database.must_exist(path)
        lock = database.WriterLock(path.with_suffix(".lock"))
        try:
            return cls(path, database.connect_writer(path), lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def read(cls, path: Path) -> Self:
        """Look at a run, also while another process writes it."""
        return cls(path, database.connect_reader(path), None)

    def close(self) -> None:
        with self._turnstile:
            self._db.close()
            if self._writer:
                self._writer.release()
                self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- the run and its tasks ----------------------------------------------------------------------------------

    def recipe(self) -> dict[str, object]:
        """The run's settings, as given to `create`."""
        recipe: dict[str, object] = json.loads(self._all("SELECT value FROM meta WHERE key = 'recipe'")[0][0])
        return recipe

    def move(self, recipe: Mapping[str, object]) -> None:
        """The run goes on elsewhere: settings that say where things are, are now these."""
        with self._transaction() as db:
            db.execute("UPDATE meta SET value = ? WHERE key = 'recipe'", (json.dumps(recipe),))

    def add_tasks(self, tasks: Iterable[Task]) -> None:
        """Those already known are kept as they are, unless all that was known was a name."""
        with self._transaction() as db:
            database.insert_tasks(db, tasks)

    def task(self, instance_id: str) -> Task:
        """KeyError if the run doesn't have it."""
        rows = self._all("SELECT task FROM tasks WHERE instance_id = ?", instance_id)
        if not rows:
            raise KeyError(instance_id)
        return Task.model_validate_json(rows[0][0])

    def tasks(self) -> list[Task]:
        return [Task.model_validate_json(row[0]) for row in self._all("SELECT task FROM tasks ORDER BY instance_id")]

    # --- iterations ---------------------------------------------------------------------------------------------

    def begin_iteration(self, number: int, beta: float | None = None) -> IterationRow:
        """The iteration as it stands, or a new one that collects."""
        with self._transaction() as db:
            insertion = (
                "INSERT INTO iterations (number, phase, beta, started) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"
            )
            db.execute(insertion, (number, Phase.COLLECTING, beta, time.time()))
        return next(row for row in self.iterations() if row.number == number)

    def advance_iteration(
        self,
        number: int,
        phase: Phase,
        *,
        beta: float | None = None,
        checkpoint: str | None = None,
        metrics: Mapping[str, object] | None = None,
    ) -> None:
        """Move to a phase. What is given is kept from then on; `metrics` are merged."""
        with self._transaction() as db:
            ended = time.time() if phase is Phase.DONE else None
            known = json.loads(db.execute("SELECT metrics FROM iterations WHERE number = ?", (number,)).fetchone()[0])
            db.execute(
                """UPDATE iterations SET phase = ?, beta = coalesce(?, beta), checkpoint = coalesce(?, checkpoint),
                   metrics = ?, ended = coalesce(?, ended) WHERE number = ?""",
                (phase, beta, checkpoint, json.dumps(known | dict(metrics or {})), ended, number),
            )

    def iterations(self) -> list[IterationRow]:
        return [codec.iteration(row) for row in self._all("SELECT * FROM iterations ORDER BY number")]

    # --- trajectories -------------------------------------------------------------------------------------------

    def open_trajectory(
        self, instance_id: str, *, iteration: int, attempt: int, purpose: Purpose, policy: str, seed: int
    ) -> TrajectoryRow:
        """The trajectory of that name: as it stands if it was begun before, or a new one."""
        name = (instance_id, iteration, attempt, purpose, policy)
        with self._transaction() as db:
            db.execute(
                """INSERT INTO trajectories (instance_id, iteration, attempt, purpose, policy, seed, started)
                   VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING""",
                (*name, seed, time.time()),
            )
        condition = "instance_id = ? AND iteration = ? AND attempt = ? AND purpose = ? AND policy = ?"
        return self._trajectories(condition, *name)[0]

    def next_attempt(self, instance_id: str) -> int:
        """One more than the highest attempt at a task, whatever its iteration."""
        return int(
            self._all("SELECT coalesce(max(attempt) + 1, 0) FROM trajectories WHERE instance_id = ?", instance_id)[0][0]
        )

    def end_trajectory(
        self,
        trajectory_id: int,
        ended_by: Exit,
        patch: str | None = None,
        *,
        resolved: bool | None = None,
        grade: Mapping[str, object] | None = None,
    ) -> TrajectoryRow:
        """It ended so, with this patch; graded, where that is known by then."""
        with self._transaction() as db:
            db.execute(
                """UPDATE trajectories SET status = 'ended', exit = ?, patch = ?, resolved = ?, grade = ?, ended = ?
                   WHERE id = ?""",
                (ended_by, patch, resolved, _json(grade), time.time(), trajectory_id),
            )
        return self.trajectory(trajectory_id)

    def reopen_trajectory(self, trajectory_id: int) -> TrajectoryRow:
        """Go on with one that a fault ended: its turns stay, and are replayed."""
        with self._transaction() as db:
            db.execute(
                """UPDATE trajectories SET status = 'open', exit = NULL, patch = NULL, ended = NULL,
                   resolved = NULL, grade = NULL WHERE id = ?""",
                (trajectory_id,),
            )
        return self.trajectory(trajectory_id)

    def grade_trajectory(
        self, trajectory_id: int, resolved: bool | None, grade: Mapping[str, object] | None = None
    ) -> None:
        """`resolved` None: it could not be graded."""
        with self._transaction() as db:
            outcome = (resolved, _json(grade), trajectory_id)
            db.execute("UPDATE trajectories SET resolved = ?, grade = ? WHERE id = ?", outcome)

    def trajectory(self, trajectory_id: int) -> TrajectoryRow:
        return self._trajectories("id = ?", trajectory_id)[0]

    def trajectories(self, *, iteration: int | None = None, purpose: Purpose | None = None) -> list[TrajectoryRow]:
        """In the order in which they were begun. None means any."""
        return self._trajectories(
            "iteration = coalesce(?, iteration) AND purpose = coalesce(?, purpose)", iteration, purpose
        )

    # --- turns --------------------------------------------------------------------------------------------------

    def record_turn(
        self,
        trajectory_id: int,
        turn: int,
        state: State,
        actor: Actor,
        action: Action,
        label: Label,
        started: float,
        *,
        thread: int = 0,
        asked: Mapping[str, object] | None = None,
    ) -> TurnRow:
        """Commit one turn with the messages of its state that are new. IntegrityError if the turn exists."""
        with self._transaction() as db:
            state_id = states.insert_state(db, state)
            place: codec.Columns = {"trajectory_id": trajectory_id, "turn": turn, "thread": thread}
            place["state_id"] = state_id
            place["asked"] = _json(asked or None)
            row = (
                place | {"actor": actor, "started": started} | codec.action_columns(action) | codec.label_columns(label)
            )
            turn_id = db.execute(_insertion("turns", row), row).lastrowid
        assert turn_id is not None
        return TurnRow(
            turn_id, trajectory_id, turn, state_id, actor, action, started, label, thread=thread, asked=asked or {}
        )

    def record_label(self, turn_id: int, label: Label) -> None:
        """Commit what became of a turn's label."""
        columns = codec.label_columns(label)
        changes = ", ".join(f"{name} = :{name}" for name in columns)
        with self._transaction() as db:
            db.execute(f"UPDATE turns SET {changes} WHERE id = :id", columns | {"id": turn_id})

    def record_judgement(self, turn_id: int, sound: bool) -> None:
        """Commit what the teacher thinks of a turn, having seen what came of it."""
        with self._transaction() as db:
            db.execute("UPDATE turns SET sound = ? WHERE id = ?", (sound, turn_id))

    def turns(self, trajectory_id: int) -> list[TurnRow]:
        """First turn first."""
        return self._turns("trajectory_id = ?", trajectory_id)

    def collected_turns(self, iteration: int) -> list[TurnRow]:
        """The turns that an iteration collected to train on, by task, attempt and turn.

        Not by trajectory number: that is the order in which threads happened to begin, and training depends on it.
        """
        rows = self._all(
            """SELECT turns.* FROM turns JOIN trajectories j ON j.id = trajectory_id
               WHERE iteration = ? AND purpose = 'collect'
               ORDER BY instance_id, attempt, turn""",
            iteration,
        )
        return [codec.turn(row) for row in rows]

    def turn_counts(self) -> tuple[int, int]:
        """(turns, those that the teacher took)."""
        row = self._all("SELECT count(*), coalesce(sum(actor = 'teacher'), 0) FROM turns")[0]
        return int(row[0]), int(row[1])

    def state_messages(self, state_id: int) -> list[Message]:
        """The conversation of a state."""
        with self._turnstile, database.translated(self.path):
            return states.state_messages(self._db, state_id)

    def label_counts(self, iteration: int) -> dict[LabelStatus, int]:
        """How many of an iteration's collected turns stand how."""
        rows = self._all(
            """SELECT label_status, count(*) FROM turns JOIN trajectories j ON j.id = trajectory_id
               WHERE iteration = ? AND purpose = 'collect' GROUP BY label_status""",
            iteration,
        )
        return dict.fromkeys(LabelStatus, 0) | {LabelStatus(status): count for status, count in rows}

    def spent(self, trajectories: Iterable[int]) -> Spent:
        """What these trajectories cost so far."""
        rows = self._all(
            """SELECT count(*), coalesce(sum(completion_tokens) FILTER (WHERE actor = 'teacher'), 0)
                      + coalesce(sum(label_completion_tokens), 0)
               FROM turns WHERE trajectory_id IN (SELECT value FROM json_each(?))""",
            json.dumps([*trajectories]),
        )
        return Spent(*rows[0])

    # --- evaluations --------------------------------------------------------------------------------------------

    def record_evaluation(self, evaluation: EvaluationRow) -> None:
        """A second one of the same name replaces the first."""
        e = evaluation
        row = (e.iteration, e.checkpoint, e.policy, e.split, e.n, e.resolved, e.faults, json.dumps(e.metrics))
        with self._transaction() as db:
            db.execute("REPLACE INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*row, time.time()))

    def evaluations(self) -> list[EvaluationRow]:
        return [codec.evaluation(row) for row in self._all("SELECT * FROM evaluations ORDER BY iteration, ended")]

    # --- SQL ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._turnstile, database.translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def _all(self, query: str, *values: object) -> list[sqlite3.Row]:
        with self._turnstile, database.translated(self.path):
            return self._db.execute(query, values).fetchall()

    def _trajectories(self, condition: str, *values: object) -> list[TrajectoryRow]:
        rows = self._all(f"SELECT * FROM trajectories WHERE {condition} ORDER BY id", *values)
        return [codec.trajectory(row) for row in rows]

    def _turns(self, condition: str, *values: object) -> list[TurnRow]:
        rows = self._all(f"SELECT * FROM turns WHERE {condition} ORDER BY trajectory_id, turn", *values)
        return [codec.turn(row) for row in rows]


def _json(value: Mapping[str, object] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _insertion(table: str, columns: codec.Columns) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(f':{name}' for name in columns)})"
