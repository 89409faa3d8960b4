"""Looking at trajectories: a list of them, or one turn by turn. Works while another process writes the run."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from rich import box
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from rollin.errors import UserError
from rollin.messages import Message, spelled
from rollin.mixture import Actor
from rollin.report.tables import printable
from rollin.store import LabelSource, LabelStatus, Purpose, Store, TrajectoryRow, TurnRow

COLOUR = {Actor.STUDENT: "cyan", Actor.TEACHER: "magenta"}
SET = ("system", "tools")
"""Roles of what is the same in all trajectories: shown dimly."""
SIDE_BY_SIDE = 100
"""Columns of a terminal that is wide enough for an action and its label beside each other."""


@dataclass(frozen=True)
class Line:
    """One trajectory in a list."""

    id: int
    instance_id: str
    family: str
    iteration: int
    attempt: int
    purpose: str
    policy: str
    turns: int
    teacher_turns: int
    exit: str | None
    """None while it is under way."""
    resolved: bool | None
    """None until graded, and for infrastructure faults."""


def trajectories(
    store: Store, *, iteration: int | None = None, purpose: Purpose | None = None, resolved: bool | None = None
) -> Iterator[Line]:
    """Those that fit, in the order in which they were begun; None means any. A fault is neither resolved nor failed."""
    families = {task.instance_id: task.family.value for task in store.tasks()}
    for row in store.trajectories(iteration=iteration, purpose=purpose):
        if resolved in (None, row.resolved):
            yield _line(row, families[row.instance_id], store.turns(row.id))


def show_run(
    store: Store,
    console: Console,
    *,
    iteration: int | None = None,
    purpose: Purpose | None = None,
    resolved: bool | None = None,
    as_json: bool = False,
) -> None:
    """List trajectories (see `trajectories`): a table, or one JSON object a line."""
    lines = trajectories(store, iteration=iteration, purpose=purpose, resolved=resolved)
    if as_json:
        for line in lines:
            console.out(json.dumps(asdict(line)), highlight=False)
        return
    table = _empty_list()
    for line in lines:
        outcome = {True: Text("yes", "green"), False: Text("no", "red"), None: Text("-", "dim")}[line.resolved]
        exit_ = line.exit.replace("_", " ") if line.exit else "under way"
        numbers = (line.iteration, line.purpose, line.turns, line.teacher_turns)
        table.add_row(str(line.id), printable(line.instance_id), line.family, *map(str, numbers), exit_, outcome)
    console.print(table if table.row_count else "No trajectory fits; leave a filter out, or wait for the run to begin.")


def show_trajectory(store: Store, trajectory_id: int, console: Console, *, as_json: bool = False) -> None:
    """One trajectory, turn by turn, or as one JSON object. UserError where the run has none of this number."""
    row = _find(store, trajectory_id)
    if as_json:
        console.out(json.dumps(_as_dict(store, row)), highlight=False)
        return
    turns = store.turns(row.id)
    console.print(_heading(row))
    before: list[Message] = []
    for turn in turns:
        messages = store.state_messages(turn.state_id)
        console.print(_turn(turn, news(before, messages), console.width))
        before = [*messages, turn.action.message]
    console.print(_ending(row))


def news(before: list[Message], messages: list[Message]) -> list[Message]:
    """What a state adds to the one before and the action there; all of it where a harness rewrote the conversation."""
    return messages[len(before) :] if messages[: len(before)] == before else messages


# --- the list ---------------------------------------------------------------------------------------------------


def _line(row: TrajectoryRow, family: str, turns: list[TurnRow]) -> Line:
    return Line(
        id=row.id,
        instance_id=row.instance_id,
        family=family,
        iteration=row.iteration,
        attempt=row.attempt,
        purpose=row.purpose.value,
        policy=row.policy,
        turns=len(turns),
        teacher_turns=sum(turn.actor is Actor.TEACHER for turn in turns),
        exit=row.exit.value if row.exit else None,
        resolved=row.resolved,
    )


def _empty_list() -> Table:
    """Eighty columns have to do: the task and the exit fold, the rest keeps its width."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("task", overflow="fold")
    for name in ("family", "iter", "purpose", "turns", "teacher"):
        table.add_column(name, justify="left" if name in ("family", "purpose") else "right", no_wrap=True)
    table.add_column("exit", overflow="fold", min_width=14)
    table.add_column("resolved", no_wrap=True)
    return table


# --- one trajectory ---------------------------------------------------------------------------------------------


def _find(store: Store, trajectory_id: int) -> TrajectoryRow:
    rows = {row.id: row for row in store.trajectories()}
    if not rows:
        raise UserError(f"{store.path.parent} has no trajectories yet; wait for its first one")
    if trajectory_id not in rows:
        raise UserError(
            f"{store.path.parent} has no trajectory {trajectory_id}; its numbers go from {min(rows)} to {max(rows)}"
        )
    return rows[trajectory_id]


def _heading(row: TrajectoryRow) -> RenderableType:
    about = f"iteration {row.iteration}, {row.purpose.value}, {row.policy}, attempt {row.attempt}"
    return Group(Text(f"trajectory {row.id}: {printable(row.instance_id)}", "bold"), Text(printable(about), "dim"))


def _said(message: Message) -> str:
    return spelled(message["content"], message.get("tool_calls", []))


CUT = {"length": " (cut by its token limit)", "content_filter": " (cut by its server's filter)"}
"""What to say of an action that did not come to its own end."""


def _turn(turn: TurnRow, observed: list[Message], width: int) -> RenderableType:
    action, label = turn.action, turn.label
    cost = f"{action.prompt_tokens:,} + {action.completion_tokens:,} tokens, {action.seconds:.1f} s"
    colour = COLOUR[turn.actor]
    title = Text(turn.actor.value, f"bold {colour}")
    cut = Text(CUT.get(action.finish_reason, ""), "yellow")
    acted = Panel(Text(printable(action.text)), title=title + cut, title_align="left", border_style=colour)
    parts: list[RenderableType] = [Rule(Text(f"turn {turn.turn}  ({cost})"), align="left", style="dim")]
    parts += [Text(printable(_said(message)), "dim" if message["role"] in SET else "") for message in observed]
    if label.text is not None and not label.agrees(action):
        beside = Panel(
            Text(printable(spelled(label.text, label.tool_calls))),
            title=Text(f"label, {label.completion_tokens:,} tokens, {label.seconds:.1f} s", "bold yellow"),
            title_align="left",
            border_style="yellow",
        )
        return Group(*parts, _beside(acted, beside, width))
    return Group(*parts, acted, Text(_label_remark(turn), "dim"))


def _beside(acted: Panel, label: Panel, width: int) -> RenderableType:
    if width >= SIDE_BY_SIDE:
        return Columns([acted, label], width=width // 2 - 1, padding=(0, 1))
    return Group(acted, label)


def _label_remark(turn: TurnRow) -> str:
    """What to say of a label that isn't shown."""
    remarks = {
        LabelStatus.PENDING: "the label is not there yet",
        LabelStatus.MISSING: "no label: the teacher failed",
        LabelStatus.INVALID: "no label: what the teacher said was of no use",
        LabelStatus.NOT_WANTED: "",
        LabelStatus.READY: "the label is the same" if turn.label.source is LabelSource.BESIDE else "",
    }
    return remarks[turn.label.status]


def _ending(row: TrajectoryRow) -> RenderableType:
    outcome = {True: "resolved", False: "not resolved", None: "not graded"}[row.resolved]
    ended = f"{row.exit.value.replace('_', ' ')}, {outcome}" if row.exit else "still under way"
    style = {True: "bold green", False: "bold red", None: "bold"}[row.resolved]
    patch = Syntax(printable(row.patch), "diff", background_color="default") if row.patch else Text("no patch", "dim")
    grade = Text(printable(json.dumps(row.grade, indent=2)), "dim") if row.grade else Text()
    return Group(Rule(Text(ended, style), align="left", style="dim"), patch, grade)


def _as_dict(store: Store, row: TrajectoryRow) -> dict[str, object]:
    return {
        **asdict(row),
        "turns": [{**asdict(turn), "messages": store.state_messages(turn.state_id)} for turn in store.turns(row.id)],
    }
