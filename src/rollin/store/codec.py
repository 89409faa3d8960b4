"""Between SQL's columns and the dataclasses of `rows`."""

import json
import sqlite3
import struct

from rollin.messages import ToolCall
from rollin.mixture import Actor
from rollin.policies.base import Action
from rollin.store.rows import (
    EvaluationRow,
    Exit,
    IterationRow,
    Label,
    LabelSource,
    LabelStatus,
    Phase,
    Purpose,
    TrajectoryRow,
    TurnRow,
)

Columns = dict[str, str | int | float | bytes | None]


def action_columns(action: Action) -> Columns:
    return {
        "action": action.content,
        "tool_calls": _calls(action.tool_calls),
        "token_ids": _packed("i", action.token_ids),
        "logprobs": _packed("f", action.logprobs),
        "finish_reason": action.finish_reason,
        "prompt_tokens": action.prompt_tokens,
        "completion_tokens": action.completion_tokens,
        "seconds": action.seconds,
    }


def label_columns(label: Label) -> Columns:
    return {
        "label": label.text,
        "label_tool_calls": _calls(label.tool_calls),
        "label_status": label.status,
        "label_source": label.source,
        "label_seconds": label.seconds,
        "label_prompt_tokens": label.prompt_tokens,
        "label_completion_tokens": label.completion_tokens,
    }


def turn(row: sqlite3.Row) -> TurnRow:
    action = Action(
        row["action"],
        finish_reason=row["finish_reason"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        token_ids=_integers(row["token_ids"]),
        logprobs=_floats(row["logprobs"]),
        seconds=row["seconds"],
        tool_calls=json.loads(row["tool_calls"] or "[]"),
    )
    label = Label(
        LabelStatus(row["label_status"]),
        row["label"],
        LabelSource(row["label_source"]) if row["label_source"] else None,
        seconds=row["label_seconds"],
        prompt_tokens=row["label_prompt_tokens"],
        completion_tokens=row["label_completion_tokens"],
        tool_calls=json.loads(row["label_tool_calls"] or "[]"),
    )
    place = (row["id"], row["trajectory_id"], row["turn"], row["state_id"])
    sound = None if row["sound"] is None else bool(row["sound"])
    asked = json.loads(row["asked"] or "{}")
    return TurnRow(*place, Actor(row["actor"]), action, row["started"], label, sound, row["thread"], asked)


def trajectory(row: sqlite3.Row) -> TrajectoryRow:
    return TrajectoryRow(
        id=row["id"],
        instance_id=row["instance_id"],
        iteration=row["iteration"],
        attempt=row["attempt"],
        purpose=Purpose(row["purpose"]),
        policy=row["policy"],
        seed=row["seed"],
        exit=Exit(row["exit"]) if row["exit"] else None,
        patch=row["patch"],
        resolved=None if row["resolved"] is None else bool(row["resolved"]),
        grade=json.loads(row["grade"]) if row["grade"] else None,
        started=row["started"],
        ended=row["ended"],
    )


def iteration(row: sqlite3.Row) -> IterationRow:
    return IterationRow(
        number=row["number"],
        phase=Phase(row["phase"]),
        beta=row["beta"],
        checkpoint=row["checkpoint"],
        started=row["started"],
        ended=row["ended"],
        metrics=json.loads(row["metrics"]),
    )


def evaluation(row: sqlite3.Row) -> EvaluationRow:
    return EvaluationRow(
        iteration=row["iteration"],
        checkpoint=row["checkpoint"],
        policy=row["policy"],
        split=row["split"],
        n=row["n"],
        resolved=row["resolved"],
        faults=row["faults"],
        metrics=json.loads(row["metrics"]),
    )


def _calls(calls: list[ToolCall]) -> str | None:
    return json.dumps(calls) if calls else None


def _packed(code: str, values: list[int] | list[float] | None) -> bytes | None:
    """Numbers as a compact, little-endian blob; `code` as in `struct`."""
    return None if values is None else struct.pack(f"<{len(values)}{code}", *values)


def _integers(blob: bytes | None) -> list[int] | None:
    return None if blob is None else list(struct.unpack(f"<{len(blob) // 4}i", blob))


def _floats(blob: bytes | None) -> list[float] | None:
    return None if blob is None else list(struct.unpack(f"<{len(blob) // 4}f", blob))
