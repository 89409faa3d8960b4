"""A teacher and a harness of one's own, as docs/your-own.md has them, in a whole run."""

from pathlib import Path

import pytest
from test_gym import GAME, ROOT, Silent

from rollin import runs
from rollin.errors import UserError
from rollin.plugins import make
from rollin.recipe import load_recipe
from rollin.store import Exit, LabelStatus, Purpose, Store

OWN = f"""
import httpx
from rollin.harnesses.base import HarnessExit
from rollin.plugins import load
from rollin.policies.base import Action
from rollin.store import Exit

GuessTheNumber, halve = load("{GAME}:GuessTheNumber"), load("{GAME}:halve")


class Teacher:
    name = "patient"

    def __init__(self, tokens):
        self.tokens = tokens

    async def act(self, request):
        return Action(halve(request.messages, request.task), completion_tokens=self.tokens)

    def forget(self, trajectory):
        pass

    async def close(self):
        pass


class Harness:
    env, folders, sandboxed, inside = {{}}, {{}}, False, False

    def run(self, task, sandbox, base_url, key):
        game = GuessTheNumber()
        messages = [{{"role": "user", "content": game.reset(7)}}]
        with httpx.Client(base_url=base_url, headers={{"Authorization": f"Bearer {{key}}"}}, timeout=60) as client:
            answer = client.post("/chat/completions", json={{"model": "any", "messages": messages}}).json()
        _, reward, over = game.step(answer["choices"][0]["message"]["content"])
        return HarnessExit(Exit.SUBMITTED, resolved=over and reward >= 1)


class Half:
    name = "half"
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    place = tmp_path / "own.py"
    place.write_text(OWN)
    return place


def test_a_teacher_and_a_harness_of_ones_own_are_named_in_a_recipe(
    own: Path, tiny_directory: Path, tmp_path: Path
) -> None:
    changes = [
        f"student.model={tiny_directory}",
        "iterations=1",
        "tasks_per_iteration=3",
        "tasks.train=[{source: gym, name: g, count: 3}]",
        "tasks.eval=[{source: gym, name: g, count: 2}]",
        f"harness={{kind: own, make: '{own}:Harness'}}",
        f"teacher={{kind: own, make: '{own}:Teacher', settings: {{tokens: 9}}}}",
        "training.parameters=full",
        "method.roll_in.beta.values=[0.5]",
    ]
    recipe = load_recipe(ROOT / "recipes" / "guess-the-number.yaml", changes)
    runs.start(recipe, tmp_path / "run", Silent())
    with Store.read(tmp_path / "run" / "run.db") as store:
        collected = store.trajectories(purpose=Purpose.COLLECT)
        turns = [turn for row in collected for turn in store.turns(row.id)]
    assert {row.exit for row in collected} == {Exit.SUBMITTED}
    assert len(turns) == 3
    assert {turn.label.status for turn in turns} == {LabelStatus.READY}
    assert {turn.label.text for turn in turns} == {"From 1 to 20: [10]"}


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("Teacher", {}, "cannot be made .TypeError"),
        ("Teacher", {"patience": 1}, "cannot be made .TypeError"),
        ("Half", {}, "has no act, forget, close"),
    ],
)
def test_what_is_no_teacher_is_said(own: Path, name: str, settings: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        make(f"{own}:{name}", settings, ("name", "act", "forget", "close"))
