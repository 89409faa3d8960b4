"""mini-swe-agent, as installed, over the real gateway in a real sandbox; only what the policy says is written down."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scripted import ScriptedPolicy, make_task

from rollin.errors import ContextOverflow, InfrastructureFault
from rollin.gateway import Gateway, SessionSpec
from rollin.harnesses.base import HarnessExit
from rollin.harnesses.mini_swe_agent import ENV, FORMAT_ERROR, MiniSweAgent, MiniSweAgentSettings
from rollin.harnesses.observation import observation
from rollin.messages import Function, ToolCall
from rollin.mixture import Actor, Student
from rollin.policies.base import Action, Request
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.store import Exit, Purpose, Store
from rollin.tasks.repository import build_repository

SUBMIT = "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"
FILES = {
    "module.py": b"VALUE = 0\n",
    "test_module.py": b"import module\n\n\ndef test_value():\n    assert module.VALUE\n",
}
REPAIR = [
    "python -m pytest -q test_module.py",
    "sed -i 's/0/1/' module.py",
    "python -m pytest -q test_module.py",
    SUBMIT,
]


def bash(command: str) -> str:
    return f"I go on.\n```bash\n{command}\n```"


def scripted(commands: list[str]) -> Callable[[Request], str]:
    return lambda request: bash(commands[min(request.turn, len(commands) - 1)])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = build_repository(FILES, [], tmp_path_factory.mktemp("cache"))
    return path


class Bench:
    """Rolls out a scripted policy and keeps what the store holds of it."""

    def __init__(self, store: Store, gateway: Gateway, template: Path) -> None:
        self.store, self.gateway, self.template = store, gateway, template

    def roll_out(
        self,
        script: Callable[[Request], str | Action | Exception],
        settings: MiniSweAgentSettings = MiniSweAgentSettings(),  # noqa: B008
        attempt: int = 0,
    ) -> tuple[HarnessExit, str]:
        """How it ended, and module.py at the end."""
        task, policy = make_task(), ScriptedPolicy("student", script)
        row = self.store.open_trajectory(
            task.instance_id, iteration=1, attempt=attempt, purpose=Purpose.EVAL, policy="student", seed=0
        )
        key = self.gateway.open_session(SessionSpec(row, task, Student(), {Actor.STUDENT: policy}))
        try:
            with BubblewrapSandbox(self.template) as sandbox:
                ending = MiniSweAgent(settings).run(task, sandbox, self.gateway.url, key)
                return ending, sandbox.run("cat module.py").output
        finally:
            self.gateway.close_session(key)

    def last_state(self, attempt: int = 0) -> list[tuple[str, str]]:
        rows = [row for row in self.store.trajectories() if row.attempt == attempt]
        state = self.store.turns(rows[0].id)[-1].state_id
        return [(message["role"], message["content"]) for message in self.store.state_messages(state)]


@pytest.fixture
def bench(tmp_path: Path, template: Path) -> Iterator[Bench]:
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store) as gateway:
        store.add_tasks([make_task()])
        yield Bench(store, gateway, template)


def test_an_agent_repairs_and_submits(bench: Bench) -> None:
    ending, module = bench.roll_out(scripted(REPAIR))
    assert (ending.exit, module) == (Exit.SUBMITTED, "VALUE = 1\n")
    roles, contents = zip(*bench.last_state(), strict=True)
    assert roles == ("system", "user", *("assistant", "user") * 3)
    assert contents[1].startswith("`to_roman(4)` returns IIII.\n\n")
    assert contents[2] == bash(REPAIR[0])
    assert contents[3].endswith("(exit 1)")
    assert "1 failed in 0.00s" in contents[3]
    assert contents[5] == "(no output)"
    assert "1 passed in 0.00s" in contents[7]
    assert "exit" not in contents[7]


def test_an_agent_repairs_by_tool_calls(bench: Bench) -> None:
    """mini-swe-agent's other way of acting; two calls in one turn, and a message without a call."""
    calls = [[REPAIR[0], "cat module.py"], [], [REPAIR[1]], [SUBMIT]]

    def act(request: Request) -> Action:
        functions = [Function(name="bash", arguments=json.dumps({"command": line})) for line in calls[request.turn]]
        made = [ToolCall(id=f"c{k}", type="function", function=function) for k, function in enumerate(functions)]
        return Action("I go on.", tool_calls=made)

    ending, module = bench.roll_out(act, MiniSweAgentSettings(actions="tool_calls"))
    assert (ending.exit, module) == (Exit.SUBMITTED, "VALUE = 1\n")
    roles, contents = zip(*bench.last_state(), strict=True)
    assert roles == ("tools", "system", "user", "assistant", "tool", "tool", "user", "assistant", "tool")
    assert "1 failed" in contents[4]
    assert contents[5] == "VALUE = 0"
    assert "No tool calls found" in contents[6]


@pytest.mark.parametrize("command", [None, ["ls"], 3, {"x": "ls"}])
def test_a_command_that_is_no_string_is_a_format_error(bench: Bench, command: object) -> None:
    """Beside one that is: none of the two is run."""

    def act(request: Request) -> Action:
        each = [REPAIR[1], command]
        functions = [Function(name="bash", arguments=json.dumps({"command": words})) for words in each]
        return Action(
            "So.", tool_calls=[ToolCall(id=f"c{k}", type="function", function=f) for k, f in enumerate(functions)]
        )

    ending, module = bench.roll_out(act, MiniSweAgentSettings(actions="tool_calls"))
    assert (ending.exit, module) == (Exit.FORMAT_ERRORS, "VALUE = 0\n")
    assert "The 'command' argument of bash must be a string." in bench.last_state()[-1][1]


def test_the_same_actions_reach_the_same_states(bench: Bench) -> None:
    for attempt in range(2):
        bench.roll_out(scripted(REPAIR), attempt=attempt)
    first, second = (bench.store.turns(row.id) for row in bench.store.trajectories())
    assert [turn.state_id for turn in first] == [turn.state_id for turn in second]


def test_an_interrupted_trajectory_rebuilds_its_workspace(bench: Bench) -> None:
    stopped, _ = bench.roll_out(
        lambda request: bash(REPAIR[request.turn]) if request.turn < 2 else InfrastructureFault("gone")
    )
    asked: list[int] = []
    ending, module = bench.roll_out(lambda request: asked.append(request.turn) or bash(REPAIR[request.turn]))
    assert stopped.exit is Exit.INFRASTRUCTURE_FAULT
    assert (ending.exit, module, asked) == (Exit.SUBMITTED, "VALUE = 1\n", [2, 3])


def test_an_agent_that_loops_is_stopped_where_the_settings_say_so(bench: Bench) -> None:
    steps = ["cat module.py", "date +%N", "ls", *["cat module.py", "ls", "true"] * 3]
    ended, _ = bench.roll_out(scripted(steps), MiniSweAgentSettings(max_turns=14, max_repeats=3))
    assert ended.exit is Exit.ACTION_LOOP
    assert len(bench.store.turns(1)) == 12
    patient, _ = bench.roll_out(scripted(steps), MiniSweAgentSettings(max_turns=8), attempt=1)
    assert patient.exit is Exit.TURN_LIMIT


def test_the_turn_limit_ends_a_trajectory(bench: Bench) -> None:
    ending, _ = bench.roll_out(scripted(["true"]), MiniSweAgentSettings(max_turns=3))
    assert ending.exit is Exit.TURN_LIMIT
    assert len(bench.store.turns(1)) == 3


def test_messages_without_a_command_end_a_trajectory(bench: Bench) -> None:
    ending, _ = bench.roll_out(lambda request: f"I think {request.turn} times.")
    assert ending.exit is Exit.FORMAT_ERRORS
    assert len(bench.store.turns(1)) == 3
    assert [role for role, _ in bench.last_state()] == ["system", "user", "user", "user"]


def test_an_agent_recovers_from_a_message_without_a_command(bench: Bench) -> None:
    commands = ["```bash\nls\n```\nor\n```bash\npwd\n```", "", bash("ls"), bash(SUBMIT)]
    ending, _ = bench.roll_out(lambda request: commands[request.turn])
    assert ending.exit is Exit.SUBMITTED
    assert bench.last_state()[2][1] == FORMAT_ERROR["text"]
    assert bench.last_state()[-1] == ("user", "module.py\ntest_module.py")


def test_a_conversation_that_outgrows_the_model_ends_a_trajectory(bench: Bench) -> None:
    ending, _ = bench.roll_out(
        lambda request: bash("ls") if request.turn < 2 else ContextOverflow("5,000 tokens, the student reads 4,096")
    )
    assert ending.exit is Exit.CONTEXT_LIMIT


def test_a_sandbox_that_dies_is_a_fault(bench: Bench) -> None:
    class Dying(BubblewrapSandbox):
        def run(self, command: str, *, seconds: float | None = None):  # type: ignore[no-untyped-def]
            if command == "ls":
                raise InfrastructureFault("the sandbox died")
            return super().run(command, seconds=seconds)

    task, policy = make_task(), ScriptedPolicy("student", scripted(["ls"]))
    row = bench.store.open_trajectory(
        task.instance_id, iteration=1, attempt=0, purpose=Purpose.EVAL, policy="student", seed=0
    )
    key = bench.gateway.open_session(SessionSpec(row, task, Student(), {Actor.STUDENT: policy}))
    with Dying(bench.template) as sandbox:
        ending = MiniSweAgent().run(task, sandbox, bench.gateway.url, key)
    assert ending == HarnessExit(Exit.INFRASTRUCTURE_FAULT, detail="the sandbox died")


def test_a_gateway_that_is_gone_is_a_fault(template: Path) -> None:
    with BubblewrapSandbox(template) as sandbox:
        ending = MiniSweAgent().run(make_task(), sandbox, "http://127.0.0.1:9/v1", "key")
    assert ending.exit is Exit.INFRASTRUCTURE_FAULT


def test_a_slow_command_and_a_long_output_are_said_shortly(bench: Bench) -> None:
    settings = MiniSweAgentSettings(command_seconds=0.5, observation_chars=200)
    bench.roll_out(scripted(["echo early; sleep 9", "seq 1000", SUBMIT]), settings)
    state = bench.last_state()
    assert state[3][1] == "early\n(timed out)"
    assert state[5][1].startswith("1\n2\n3\n")
    assert state[5][1].endswith("\n999\n1000")
    assert "characters left out" in state[5][1]
    assert len(state[5][1]) < 250


WARNS = """
import warnings

def test_it_warns():
    with warnings.catch_warnings(record=True) as log:
        warnings.warn("old", DeprecationWarning)
    assert len(log) == 1
"""


def test_an_agents_tests_say_what_grading_says(template: Path) -> None:
    """Short output must not change what a test does: with warnings off, one of warnings fails for the agent alone."""
    with BubblewrapSandbox(template, env=ENV) as sandbox:
        sandbox.write("test_warns.py", WARNS.encode())
        outcome = sandbox.run("python -m pytest test_warns.py")
    assert outcome.returncode == 0, outcome.output
    assert len(outcome.output.splitlines()) == 2, "dots and the sum"


def test_sixteen_trajectories_at_once(bench: Bench) -> None:
    with ThreadPoolExecutor(16) as pool:
        endings = list(pool.map(lambda k: bench.roll_out(scripted([f"echo {k}", *REPAIR]), attempt=k), range(16)))
    assert {ending.exit for ending, _ in endings} == {Exit.SUBMITTED}
    assert [bench.last_state(attempt=k)[3][1] for k in range(16)] == [str(k) for k in range(16)]


@pytest.mark.parametrize(
    ("output", "seen"),
    [
        ("\n=== 1 failed, 2 passed in 0.03s ===\n", "=== 1 failed, 2 passed in 0.00s ==="),
        ("== 5 passed in 65.12s (0:01:05) ==", "== 5 passed in 0.00s =="),
        ("Ran 3 tests in 0.001s\n\nOK", "Ran 3 tests in 0.00s\n\nOK"),
        ("<roman.Numeral object at 0x7f3c2a0b1d90>", "<roman.Numeral object at 0x0>"),
        ("it waits in 3 places; x = 0.03s", "it waits in 3 places; x = 0.03s"),
        ("    indented\n", "    indented"),
    ],
)
def test_what_differs_from_run_to_run_is_not_observed(output: str, seen: str) -> None:
    assert observation(output, 2000) == seen


def test_the_prompts_are_short() -> None:
    settings = MiniSweAgentSettings()
    words = f"{settings.system_template} {settings.instance_template}".replace("_", " ").split()
    assert len(words) < 60


def test_importing_it_is_silent_and_leaves_the_home_alone(tmp_path: Path) -> None:
    code = "from rollin.harnesses.mini_swe_agent import MiniSweAgent; MiniSweAgent()"
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []
