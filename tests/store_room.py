"""States and trajectories for tests of the store."""

from scripted import make_task

from rollin.messages import Message
from rollin.store import Label, LabelStatus, Purpose, Store, TrajectoryRow
from rollin.store.states import State

PENDING = Label(LabelStatus.PENDING)


def conversation(turns: int, task: str = "repair it") -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": "You repair."}, {"role": "user", "content": task}]
    for k in range(turns):
        messages += [{"role": "assistant", "content": f"act {k}"}, {"role": "user", "content": f"saw {k}"}]
    return messages


def state(turns: int, task: str = "repair it") -> State:
    return State.of(conversation(turns, task))


def begin(store: Store, attempt: int = 0, purpose: Purpose = Purpose.COLLECT) -> TrajectoryRow:
    name = make_task().instance_id
    return store.open_trajectory(name, iteration=1, attempt=attempt, purpose=purpose, policy="student", seed=7)
