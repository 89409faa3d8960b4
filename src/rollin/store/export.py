"""What a run holds, in the forms that others read: SWE-bench's predictions, and turns as Parquet in the chat format."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pyarrow
from pyarrow import parquet

from rollin.errors import UserError
from rollin.messages import Message, ToolCall, offered
from rollin.store.rows import Exit, Purpose, TrajectoryRow, TurnRow
from rollin.store.store import Store

_TEXT = pyarrow.string()
_MESSAGE = pyarrow.struct(
    [("role", _TEXT), ("content", _TEXT), ("name", _TEXT), ("tool_calls", _TEXT), ("tool_call_id", _TEXT)]
)
_SCHEMA = pyarrow.schema(
    [
        *((name, _TEXT) for name in ("instance_id", "repo", "purpose", "policy", "exit")),
        *((name, pyarrow.int64()) for name in ("iteration", "attempt", "trajectory", "thread", "turn")),
        ("resolved", pyarrow.bool_()),
        ("messages", pyarrow.list_(_MESSAGE)),
        ("tools", _TEXT),
        ("actor", _TEXT),
        ("action", _MESSAGE),
        ("label", _MESSAGE),
        *((name, _TEXT) for name in ("label_status", "label_source", "finish_reason")),
        *((name, pyarrow.int64()) for name in ("prompt_tokens", "completion_tokens")),
    ]
)


class Prediction(TypedDict):
    """What SWE-bench evaluates, in its names."""

    instance_id: str
    model_name_or_path: str
    model_patch: str


@dataclass(frozen=True)
class Predictions:
    """An evaluation's patches, one a task."""

    iteration: int
    name: str
    """The model's: the run's and the iteration's."""
    rows: list[Prediction]
    sources: dict[str, str]
    """Task -> the data set that it came from."""
    faults: list[str]
    """Tasks whose trajectory ended by an infrastructure fault: they have no prediction."""

    def of(self, source: str) -> list[Prediction]:
        """Those for tasks of one data set."""
        return [row for row in self.rows if self.sources[row["instance_id"]] == source]


def predictions(store: Store, iteration: int | None = None) -> Predictions:
    """The patches of an iteration's evaluation; of the last one, if none is named. UserError where there is none."""
    ended = [row for row in store.trajectories(purpose=Purpose.EVAL) if row.exit is not None]
    known = sorted({row.iteration for row in ended})
    if not known:
        raise UserError(
            f"{store.path} holds no evaluation; run one with `rollin eval`, or let the run go on to its own"
        )
    chosen = known[-1] if iteration is None else iteration
    if chosen not in known:
        raise UserError(f"{store.path} holds no evaluation of iteration {chosen}; it has {', '.join(map(str, known))}")
    first: dict[str, TrajectoryRow] = {}
    for row in sorted(ended, key=lambda row: (row.instance_id, row.attempt)):
        if row.iteration == chosen:
            first.setdefault(row.instance_id, row)
    name = f"{_run_name(store)}-iteration-{chosen}"
    faults = [task for task, row in first.items() if row.exit is Exit.INFRASTRUCTURE_FAULT]
    rows: list[Prediction] = [
        {
            "instance_id": task,
            "model_name_or_path": name,
            "model_patch": (row.patch or "") if row.exit is Exit.SUBMITTED else "",
        }
        for task, row in first.items()
        if task not in faults
    ]
    return Predictions(chosen, name, rows, {task: store.task(task).source for task in first}, faults)


def write_predictions(rows: list[Prediction], path: Path) -> Path:
    """One JSON object a line, as `swebench` reads it. UserError for another ending than `.jsonl`."""
    if path.suffix != ".jsonl":
        raise UserError(f"{path}: swebench reads predictions from .jsonl files; name it so")
    with _written(path):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_turns(store: Store, path: Path, iteration: int | None = None) -> int:
    """Every turn, or an iteration's, as a row of a Parquet file, trajectory by trajectory. How many there are."""
    count = 0
    with _written(path), parquet.ParquetWriter(path, _SCHEMA) as writer:
        for row in store.trajectories(iteration=iteration):
            turns = [*_turns(store, row)]
            writer.write_table(pyarrow.Table.from_pylist(turns, schema=_SCHEMA))
            count += len(turns)
    return count


@contextmanager
def _written(path: Path) -> Iterator[None]:
    """UserError where a file can't be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; choose another place with --out") from error


def _turns(store: Store, row: TrajectoryRow) -> Iterator[dict[str, object]]:
    task = store.task(row.instance_id)
    names = {
        **{"instance_id": row.instance_id, "repo": task.repo, "purpose": row.purpose.value, "policy": row.policy},
        **{"exit": row.exit and row.exit.value, "iteration": row.iteration, "attempt": row.attempt},
        **{"trajectory": row.id, "resolved": row.resolved},
    }
    for turn in store.turns(row.id):
        tools, messages = offered(store.state_messages(turn.state_id))
        yield names | {
            "thread": turn.thread,
            "turn": turn.turn,
            "messages": [_flat(message) for message in messages],
            "tools": json.dumps(tools) if tools else None,
            "actor": turn.actor.value,
            "action": _said(turn.action.content, turn.action.tool_calls),
            "label": _label(turn),
            "label_status": turn.label.status.value,
            "label_source": turn.label.source and turn.label.source.value,
            "finish_reason": turn.action.finish_reason,
            "prompt_tokens": turn.action.prompt_tokens,
            "completion_tokens": turn.action.completion_tokens,
        }


def _label(turn: TurnRow) -> dict[str, object] | None:
    return None if turn.label.text is None else _said(turn.label.text, turn.label.tool_calls)


def _said(content: str, calls: list[ToolCall]) -> dict[str, object]:
    return _flat({"role": "assistant", "content": content, "tool_calls": calls})


def _flat(message: Message) -> dict[str, object]:
    """A message whose calls are JSON in a text: their arguments have no common columns."""
    calls = message.get("tool_calls")
    return {**message, "tool_calls": json.dumps(calls) if calls else None}


def _run_name(store: Store) -> str:
    """The recipe's, as a file's name may be."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(store.recipe().get("name", "run")))
