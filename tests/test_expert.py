"""The scripted expert: what it resolves, that it names only what it has seen, and how it gets out of wreckage."""

import asyncio
import builtins
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from expert_room import (
    HARMLESS,
    HISTORY,
    WORKS,
    Play,
    Vandal,
    broken_task,
    opening,
    play,
    regression_task,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from rollin.chat import action_ids
from rollin.errors import UserError
from rollin.messages import Message
from rollin.models import PACKAGED, load_tokenizer
from rollin.policies.base import Action, Request
from rollin.policies.expert import Expert, steps
from rollin.policies.expert.calls import command_of
from rollin.policies.expert.knowledge import faults_of
from rollin.policies.expert.looks import place
from rollin.policies.expert.screen import Event, Screen
from rollin.policies.expert.steps import THEN_TEST, Step
from rollin.policies.expert.visible import repairs
from rollin.recipe import load_recipe
from rollin.tasks.faults.base import diff
from rollin.tasks.schema import Commit, Family, Task

RECIPES = Path(__file__).parents[1] / "recipes"
VISIBLE_TASKS = (
    ("invoice", ("misspelled_name", "missing_import")),
    ("password", ("misspelled_key", "missing_colon", "missing_bracket")),
    ("histo", ("misspelled_data_key", "misspelled_call")),
    ("bitset", ("misspelled_keyword", "bad_indent", "misspelled_import")),
    ("stock", ("missing_argument", "misspelled_attribute", "missing_quote")),
)
SEMANTIC_TASKS = (("lexer", "shifted_boundary"), ("roman", "wrong_constant"), ("factors", "wrong_operator"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tasks(cache: Path) -> list[Task]:
    """Five visible tasks with all kinds of faults, three semantic ones, two regressions."""
    return [
        *(broken_task(kata, Family.VISIBLE, kinds, cache) for kata, kinds in VISIBLE_TASKS),
        *(broken_task(kata, Family.SEMANTIC, [kind], cache) for kata, kind in SEMANTIC_TASKS),
        *(regression_task(cache, conflict=conflict) for conflict in (False, True)),
    ]


@pytest.fixture(scope="module")
def plays(tasks: list[Task], cache: Path) -> list[tuple[Task, Play]]:
    return [(task, play(task, Expert(), cache)) for task in tasks]


def act(messages: list[Message], task: Task) -> str:
    request = Request(messages=messages, trajectory="t", turn=0, seed=0, task=task)
    return asyncio.run(Expert().act(request)).content


def states(messages: list[Message]) -> list[tuple[list[Message], str]]:
    """Each state of a trajectory, with what was done there."""
    return [(messages[:at], m["content"]) for at, m in enumerate(messages) if m["role"] == "assistant"]


def test_it_resolves_tasks_of_every_family(plays: list[tuple[Task, Play]]) -> None:
    assert {task.instance_id: outcome.resolved for task, outcome in plays} == {
        task.instance_id: True for task, _ in plays
    }


def test_it_needs_few_turns(plays: list[tuple[Task, Play]]) -> None:
    for task, outcome in plays:
        bound = 12 if task.family is Family.REGRESSION else 3 + 3 * len(faults_of(task.patch))
        assert outcome.turns <= bound, task.instance_id


def test_repairs_and_looks_name_only_what_the_screen_shows(plays: list[tuple[Task, Play]]) -> None:
    known = {*dir(builtins), *sys.stdlib_module_names, "import", "from"}
    for task, outcome in plays:
        for state, content in states(outcome.messages):
            screen = Screen(state)
            command = steps.in_full(command_of(content).partition(THEN_TEST)[0], screen.similar_words)
            if not command.startswith("sed -i"):
                looked_for = re.findall(r"x='(\w+)|\^(\d+):|'def (\w+)'|^n, s = (\d+)", command, re.MULTILINE)
                assert screen.shows("".join(found) for found in looked_for), f"{command} in {task.instance_id}"
                continue
            fault = repairs(Event(command, ""), task)
            assert fault is not None
            needed = fault.needs - known if task.family is Family.VISIBLE else set()
            number = re.findall(r"sed -i ['\"](\d+)", command)
            assert screen.shows([*needed, *number]), f"{command} in {task.instance_id}"
            seen = screen.shows([fault.path]) or f"test_{fault.path}" in screen.text
            assert command.endswith(steps.EVERY_FILE) or (fault.path in command and seen), command


def test_an_action_is_no_longer_than_a_student_may_say(plays: list[tuple[Task, Play]]) -> None:
    """A label that is cut off teaches a student to be cut off."""
    tokenizer = load_tokenizer(PACKAGED)
    longest = max(len(action_ids(tokenizer, said)) for _, outcome in plays for _, said in states(outcome.messages))
    recipes = [recipe for path in RECIPES.glob("*.yaml") if (recipe := load_recipe(path)).teacher.kind != "function"]
    assert recipes
    assert all(longest <= recipe.student.sampling.max_tokens for recipe in recipes)


def test_a_misspelled_word_comes_from_the_last_look_or_is_named(
    tasks: list[Task], plays: list[tuple[Task, Play]]
) -> None:
    """Where other words were looked for since, it is others that lie in the sandbox."""
    task, state = next(
        (task, state)
        for task, outcome in plays
        for state, said in states(outcome.messages)
        if command_of(said).startswith(steps.EXCHANGE)
    )
    wrong, right = Screen(state).similar_words.split()
    other = [
        Message(role="assistant", content=str(Step("Which words are like it?", steps.similar("self")))),
        Message(role="user", content="sel self"),
    ]
    assert command_of(act([*state, *other], task)).startswith(steps.exchange_word(wrong, right))


def judged(state: list[Message], task: Task) -> bool:
    request = Request(messages=state, trajectory="t", turn=0, seed=0, task=task)
    return asyncio.run(Expert().sound(request))


def test_its_own_turns_are_sound_and_damage_is_not(plays: list[tuple[Task, Play]]) -> None:
    for task, outcome in plays:
        *middle, (last, _) = [*states(outcome.messages)][1:]
        for state in [*(state for state, _ in middle), last]:
            assert judged(state, task), (task.instance_id, state[-2]["content"], state[-1]["content"], act(state, task))
        for command in ("", "sed -i 's/def /dfe /' x.py; python -m pytest | tail -n 6"):
            said = Message(role="assistant", content=f"Hm.\n```bash\n{command}\n```" if command else "Hm.")
            seen = Message(role="user", content="E   SyntaxError: invalid syntax\n1 error in 0.00s")
            assert task.family is Family.REGRESSION or not judged([*last, said, seen], task)


def test_the_same_state_gives_the_same_action(plays: list[tuple[Task, Play]]) -> None:
    for task, outcome in plays:
        for state, content in states(outcome.messages):
            assert act(state, task) == content


def test_it_does_not_say_the_same_thing_in_many_ways(plays: list[tuple[Task, Play]]) -> None:
    said = {}
    for _, outcome in plays:
        for _, content in states(outcome.messages):
            thought, command = content.split("\n", 1)
            shape = re.sub(r"\d+|'.*'|[\w./]+\.(py|json|ini)", "_", command)
            said.setdefault(shape, set()).add(thought)
    assert len(said) < 20


@pytest.mark.parametrize("seed", [0, 1])
def test_it_takes_over_from_a_vandal(tasks: list[Task], cache: Path, seed: int) -> None:
    for task in tasks[seed::3]:
        outcome = play(task, Expert(), cache, first=Vandal(seed), first_turns=3)
        assert outcome.resolved, outcome.messages


def test_a_wrong_verdict_means_to_bisect_again(tasks: list[Task], plays: list[tuple[Task, Play]]) -> None:
    task, outcome = plays[-2]
    state = next(state for state, content in states(outcome.messages) if command_of(content) == steps.good().command)
    lie = Message(role="assistant", content=str(steps.bad()))
    told = Message(role="user", content="Bisecting: 1 revision left to test after this\n1 failed, 4 passed in 0.00s")
    assert act([*state, lie, told], task) == str(steps.start_bisect())


def test_lost_commits_are_brought_back(tasks: list[Task]) -> None:
    for command in ("git reset --hard HEAD~3", "git checkout HEAD~2", "git switch -c other"):
        done = Message(role="assistant", content=f"Go.\n```bash\n{command}\n```")
        state = [*opening(tasks[-1]), done, Message(role="user", content="HEAD is now at 1234567 Change 3")]
        assert act(state, tasks[-1]) == str(steps.START_OVER), command


def test_a_revert_that_conflicts_is_seen_through(tasks: list[Task]) -> None:
    """To look at the culprit is not to wreck the history: it goes on from what the look showed."""
    task, state = tasks[-1], opening(tasks[-1])
    for step, output in (
        (steps.reproduce(), "1 failed, 2 passed in 0.00s"),
        (steps.start_bisect(), "Bisecting: 1 revision left to test after this\n1 failed, 4 passed in 0.00s"),
        (steps.bad(), "6264143c926ffd375db48f904d51db4c13d138fb is the first bad commit\n5 passed in 0.00s"),
        (
            steps.revert(),
            "CONFLICT (content): Merge conflict in a.py\nerror: patch failed: a.py:27\n1 failed, 2 passed in 0.00s",
        ),
        (steps.SHOW_CULPRIT, "f8a175b"),
    ):
        assert act(state, task) == str(step)
        state += [Message(role="assistant", content=str(step)), Message(role="user", content=output)]
    assert act(state, task) != str(steps.START_OVER)


def test_a_line_that_was_spoilt_is_written_anew(tasks: list[Task], cache: Path) -> None:
    """Not undone and repaired: the student that spoilt it has to learn to write it."""
    spoilt = 0
    for task in tasks:
        fault = faults_of(task.patch)[0]
        if task.family is Family.VISIBLE and len(fault.wrong) == 1 and fault.is_of_line:
            outcome = play(task, Expert(), cache, first=Spoiler(f"{fault.line}c\\x = = 1", fault.path), first_turns=1)
            said = [message["content"] for message in outcome.messages if message["role"] == "assistant"]
            assert outcome.resolved, said
            assert str(steps.SEE_CHANGES) not in said
            spoilt += 1
    assert spoilt


def test_a_line_that_reads_like_the_wrong_one_is_left_alone() -> None:
    """A listing that shows the first `return` only is no place to repair the second."""
    first = "def f(x):\n    if x:\n        return\n    print(x)\n\n\n"
    right = first + "def g(x):\n    for y in x:\n        print(y)\n    return\n"
    wrong = right.replace("\n    return", "\n        return")
    history, patch = [Commit(subject="All", files={"m.py": wrong})], diff({"m.py": wrong}, {"m.py": right})
    task = Task.bare("twins", family=Family.SEMANTIC, history=history, patch=patch)
    (fault,) = faults_of(task.patch)
    lines = [f"{number}:{line}" for number, line in enumerate(wrong.split("\n"), start=1)]
    places = []
    for shown in (lines[:6], lines):
        said = "Read on.\n```bash\ngrep -n ^ m.py\n```"
        state = [Message(role="assistant", content=said), Message(role="user", content="\n".join(shown))]
        places.append(place(fault, Screen([*opening(task), *state]), task))
    assert places == [None, 10]


@dataclass
class Spoiler(Expert):
    """Writes a line wrong."""

    script: str
    path: str

    async def act(self, request: Request) -> Action:
        return Action(content=f"Like this.\n```bash\nsed -i '{self.script}' ./{self.path}\n```")


def test_another_reading_is_taken_where_the_first_was_wrong(tasks: list[Task], plays: list[tuple[Task, Play]]) -> None:
    """The wrong one stands on the screen as the student took it; nothing has to be undone."""
    task, state, said = next(
        (task, state, said) for task, outcome in plays for state, said in states(outcome.messages) if steps.PICK in said
    )
    shown = Screen(state).readings
    assert shown
    looked = "\n".join(f"{line} # {place}" for place, line in {**shown.shown, 99: "nonsense ("}.items())
    took = f"nonsense ( # 99\n```bash\n{steps.and_check(steps.pick(99, shown.path))}\n```"
    place = f'E     File "/repo/{shown.path}", line {shown.number}'
    complaint = f"{place}\nE       nonsense (\nE   SyntaxError: x\n1 error in 0.00s"
    wrong = [
        *state[:-1],
        Message(role="user", content=looked),
        Message(role="assistant", content=took),
        Message(role="user", content=complaint),
    ]
    assert act(wrong, task) == said
    assert not judged(wrong, task)


def test_an_edited_test_is_not_a_repair(tasks: list[Task], cache: Path) -> None:
    """The tests pass because a test was spoilt: the expert looks at what was changed before it submits."""
    task = tasks[5]
    test = task.test_files[0]
    passed = Message(role="user", content="10 passed in 0.00s")
    state = [
        *opening(task),
        Message(role="assistant", content=f"Go.\n```bash\nsed -i 's/==/!=/' {test}\n```"),
        Message(role="user", content="(no output)"),
        Message(role="assistant", content=str(steps.run_tests())),
        passed,
    ]
    assert act(state, task) == str(steps.SEE_CHANGES)
    shown = Message(role="user", content=f"--- a/{test}\n+++ b/{test}\n-    assert x == 1\n+    assert x != 1")
    state += [Message(role="assistant", content=str(steps.SEE_CHANGES)), shown]
    assert act(state, task) == str(steps.undo([test]))


OUTPUTS = (
    "(no output)",
    "1 failed, 2 passed in 0.00s",
    "10 passed in 0.00s",
    "no tests ran in 0.00s",
    "CONFLICT (content): Merge conflict in invoice.py",
    "invoice.py:45: in _tax_on\n    return math.flor(x)\nE   AttributeError: flor\n1 failed in 0.00s",
    "fatal: bad revision 'bisect/bad'\n(exit 128)",
    "Bisecting: 2 revisions left to test after this (roughly 2 steps)\n10 passed in 0.00s",
    "6264143c926ffd375db48f904d51db4c13d138fb is the first bad commit\n10 passed in 0.00s",
)
OWN = (
    steps.show_tests(),
    steps.DIFF,
    steps.BASE,
    steps.start_bisect().command,
    steps.good().command,
    steps.revert().command,
    steps.SHOW,
)


@settings(max_examples=200, deadline=None)
@given(
    turns=st.lists(
        st.tuples(st.sampled_from([*WORKS, *HISTORY, *HARMLESS, *OWN]), st.sampled_from(OUTPUTS) | st.text())
    ),
    which=st.integers(0, 9),
)
def test_any_state_has_an_answer(tasks: list[Task], turns: list[tuple[str, str]], which: int) -> None:
    task = tasks[which]
    messages = opening(task)
    for command, output in turns:
        messages.append(Message(role="assistant", content=f"Hm.\n```bash\n{command}\n```" if command else "Hm."))
        messages.append(Message(role="user", content=output))
    action = act(messages, task)
    assert command_of(action)
    assert action == act(messages, task)
    assert len(action.split("\n")[0].split()) <= 15


def test_without_a_task_it_says_so() -> None:
    request = Request(messages=[Message(role="user", content="Hi")], trajectory="t", turn=0, seed=0)
    with pytest.raises(UserError, match="without a task"):
        asyncio.run(Expert().act(request))


def test_where_the_screen_does_not_say_how_the_tests_fail_they_are_run_in_full(tasks: list[Task]) -> None:
    """Not a word or a line is named that only the patch knows. Where that shows no more, it goes on."""
    for task in tasks:
        if task.family is Family.REGRESSION:
            continue
        state = opening(task)
        for command in ("python -m pytest | tail -n 1", steps.show_tests()):
            state.append(Message(role="assistant", content=f"Go.\n```bash\n{command}\n```"))
            state.append(Message(role="user", content="1 failed, 4 passed in 0.00s"))
            assert (act(state, task) == str(steps.run_tests())) == ("-n 1" in command)


def test_damage_whose_check_shows_nothing_is_not_sound(tasks: list[Task]) -> None:
    said = "Go.\n```bash\nsed -i 's/def /dfe /' x.py; python -m pytest | tail -n 1\n```"
    seen = Message(role="user", content="1 error in 0.00s")
    assert not judged([*opening(tasks[0]), Message(role="assistant", content=said), seen], tasks[0])


def test_some_tests_that_pass_are_no_reason_to_submit(tasks: list[Task]) -> None:
    for task in tasks:
        said = f"Go.\n```bash\npython -m pytest {task.FAIL_TO_PASS[0]}\n```"
        seen = Message(role="user", content="1 passed in 0.00s")
        assert act([*opening(task), Message(role="assistant", content=said), seen], task) == act(opening(task), task)


def test_tests_that_ran_out_of_time_are_no_verdict(tasks: list[Task]) -> None:
    state = opening(tasks[0])
    for _ in range(2):
        assert act(state, tasks[0]) == str(steps.run_tests())
        state += [Message(role="assistant", content=str(steps.run_tests()))]
        state += [Message(role="user", content="(no output)\n(timed out)")]
    assert act(state, tasks[0]) == str(steps.LIST_TESTS)
