"""Any program as the agent: a real one with the official client, in a real sandbox, through the real gateway."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console
from roman_room import BUGGY, TESTS, finished
from scripted import ScriptedPolicy, make_task

from rollin import runs
from rollin.errors import UserError
from rollin.gateway import Gateway, SessionSpec
from rollin.harnesses.base import HarnessExit
from rollin.harnesses.command import CommandHarness, CommandSettings
from rollin.messages import Function, ToolCall, offered
from rollin.mixture import Actor, Student
from rollin.policies.base import Action, Policy, Request
from rollin.progress import ConsoleReporter
from rollin.recipe import load_recipe
from rollin.rollout import Attempt, Cast, Rollouts
from rollin.sandboxes.base import Limits
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.store import Exit, Purpose, Store, TrajectoryRow
from rollin.tasks.repository import build_repository
from rollin.tasks.schema import Commit, Task

ROOT = Path(__file__).parents[1]
AGENT = """
import os, subprocess
import openai

client = openai.OpenAI()
messages = [{"role": "user", "content": os.environ["TASK"]}]
while True:
    said = client.chat.completions.create(model="any", messages=messages).choices[0].message.content
    if said == "done":
        break
    seen = subprocess.run(said, shell=True, capture_output=True, text=True).stdout
    messages += [{"role": "assistant", "content": said}, {"role": "user", "content": seen}]
"""
"""An agent as somebody would write it who has never heard of rollin."""
LIMITS = Limits(memory_mb=4096)


class Bench:
    """Rolls out a scripted policy with a command as its agent."""

    def __init__(self, store: Store, gateway: Gateway, template: Path, folder: Path) -> None:
        self.store, self.gateway, self.template, self.folder = store, gateway, template, folder

    def roll_out(
        self,
        command: str,
        script: Callable[[Request], str | Action | Exception] = lambda request: "done",
        limits: Limits = LIMITS,
        **more: object,
    ) -> tuple[HarnessExit, str]:
        """How it ended, and module.py at the end."""
        settings = {"kind": "command", "command": command, "folder": self.folder, **more}
        harness = CommandHarness(CommandSettings.model_validate(settings))
        task, policy = make_task(), ScriptedPolicy("student", script)
        attempt = len(self.store.trajectories())
        row = self.store.open_trajectory(
            task.instance_id, iteration=1, attempt=attempt, purpose=Purpose.EVAL, policy="student", seed=0
        )
        key = self.gateway.open_session(SessionSpec(row, task, Student(), {Actor.STUDENT: policy}))
        shown = {**harness.folders, **self.gateway.way_in}
        try:
            with BubblewrapSandbox(self.template, limits, harness.env, shown=shown) as sandbox:
                ending = harness.run(task, sandbox, self.gateway.url, key)
                return ending, sandbox.run("cat module.py").output
        finally:
            self.gateway.close_session(key)

    def whole(
        self, cache: Path, command: str, policy: Policy, task: Task | None = None, **more: object
    ) -> TrajectoryRow:
        """A trajectory of a task that can be graded, as a run has it."""
        files = {"roman.py": BUGGY, "test_roman.py": TESTS}
        task = task or finished([Commit(subject="Import", files=dict(files))], cache)
        self.store.add_tasks([task])
        settings = {"kind": "command", "command": command, "folder": self.folder, **more}
        harness = CommandHarness(CommandSettings.model_validate(settings))
        rollouts = Rollouts(self.store, self.gateway, harness, cache_dir=cache, limits=LIMITS, concurrency=1, seed=0)
        cast = Cast("student", Student(), {Actor.STUDENT: policy})
        (row,) = rollouts.run([Attempt(task, 1, Purpose.EVAL)], cast, lambda row: None)
        return row


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path, _ = build_repository({"module.py": b"VALUE = 0\n"}, [], tmp_path_factory.mktemp("cache"))
    return path


@pytest.fixture
def bench(tmp_path: Path, template: Path) -> Iterator[Bench]:
    folder = tmp_path / "agent"
    folder.mkdir()
    (folder / "agent.py").write_text(AGENT)
    with Store.create(tmp_path / "run.db", {}) as store, Gateway(store, door=True) as gateway:
        store.add_tasks([make_task()])
        yield Bench(store, gateway, template, folder)


def test_mini_swe_agents_own_command_line_repairs(bench: Bench) -> None:
    """`mini`, as it is installed, with the configuration of recipes/mini.yaml."""
    commands = ["cat module.py", "sed -i s/0/1/ module.py", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]

    def act(request: Request) -> str:
        return f"So.\n```bash\n{commands[request.turn]}\n```"

    settings = load_recipe(ROOT / "recipes" / "mini.yaml").harness
    assert isinstance(settings, CommandSettings)
    ending, module = bench.roll_out(settings.command, act, folder=ROOT / "examples" / "mini", env=settings.env)
    assert (ending.exit, ending.detail, module) == (Exit.SUBMITTED, "", "VALUE = 1\n")
    *_, last = bench.store.turns(len(bench.store.trajectories()))
    state = bench.store.state_messages(last.state_id)
    assert [message["role"] for message in state] == ["system", "user", *["assistant", "user"] * 2]
    assert state[3]["content"].strip() == "VALUE = 0"


def test_an_agent_of_ones_own_repairs(bench: Bench) -> None:
    commands = ["cat module.py", "sed -i s/0/1/ module.py; echo $COLOUR", "done"]
    ending, module = bench.roll_out("python /agent/agent.py", lambda r: commands[r.turn], env={"COLOUR": "blue"})
    assert (ending.exit, module) == (Exit.SUBMITTED, "VALUE = 1\n")
    turns = bench.store.turns(1)
    assert [turn.action.content for turn in turns] == commands
    state = bench.store.state_messages(turns[2].state_id)
    assert [message["content"] for message in state] == [
        "`to_roman(4)` returns IIII.",
        commands[0],
        "VALUE = 0\n",
        commands[1],
        "blue\n",
    ]


def test_stock_mini_swe_agent_repairs(bench: Bench) -> None:
    """Its own entry point and configuration; its model calls the tool `bash`. (The last option: see MiniSweAgent.)"""
    commands = ["cat module.py", "sed -i s/0/1/ module.py", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]

    def act(request: Request) -> Action:
        function = Function(name="bash", arguments=json.dumps({"command": commands[request.turn]}))
        return Action("I go on.", tool_calls=[ToolCall(id="c", type="function", function=function)])

    options = "-y --exit-immediately -m openai/any -c mini.yaml -c model.model_kwargs._skip_mcp_handler=true"
    env = {"MSWEA_CONFIGURED": "true", "MSWEA_COST_TRACKING": "ignore_errors", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    ending, module = bench.roll_out(f'mini {options} -t "$TASK"', act, env=env)
    assert (ending, module) == (HarnessExit(Exit.SUBMITTED), "VALUE = 1\n")
    tools, state = offered(bench.store.state_messages(bench.store.turns(1)[2].state_id))
    assert [tool["function"]["name"] for tool in tools] == ["bash"]
    assert [message["role"] for message in state] == ["system", "user", *["assistant", "tool"] * 2]


def test_its_only_way_out_is_the_gateway(bench: Bench) -> None:
    """Not the host's loopback, not the network; and not its own files, to write to."""
    port = bench.gateway.url.split(":")[2].split("/")[0]
    places = [f"127.0.0.1/{port}", "1.1.1.1/80"]
    tries = "; ".join([*(f"(echo > /dev/tcp/{place}) 2>&1" for place in places), "touch /agent/x 2>&1"])
    ending, _ = bench.roll_out(f"{tries}; echo $TASK_ID >&2; exit 3")
    assert ending.exit is Exit.INFRASTRUCTURE_FAULT
    assert "Connection refused" in ending.detail
    assert "Network is unreachable" in ending.detail
    assert "Read-only file system" in ending.detail
    assert ending.detail.startswith("exit 3: ")
    assert ending.detail.endswith("kata-roman-1")


def test_the_hosts_keys_are_not_in_the_sandbox_nor_in_the_store(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = "sk-planted-4711"
    for name in ("OPENAI_API_KEY", "STUDENT_API_KEY", "ROLLIN_KEY"):
        monkeypatch.setenv(name, planted)
    look = "(env; cat /proc/*/environ) | tr '\\0' '\\n' | grep "
    assert bench.roll_out(f"{look} planted && exit 3; {look} OPENAI_BASE_URL || exit 4")[0].exit is Exit.SUBMITTED
    bench.roll_out("python /agent/agent.py", lambda request: ("env", "done")[request.turn])
    seen = bench.store.state_messages(bench.store.turns(2)[1].state_id)[-1]["content"]
    assert "OPENAI_API_KEY" in seen
    stored = b"".join(path.read_bytes() for path in bench.store.path.parent.glob("run.db*"))
    assert planted.encode() not in stored


def test_a_program_that_does_not_end_is_ended(bench: Bench) -> None:
    started = time.monotonic()
    ending, _ = bench.roll_out("sleep 60 & sleep 60", seconds=1)
    assert (ending.exit, time.monotonic() - started < 20) == (Exit.TIME_LIMIT, True)


def test_a_program_whose_model_passes_a_limit_is_ended(bench: Bench) -> None:
    """Its command makes more files than there may be: with it goes the program, by the model's doing."""
    crowd = "for i in $(seq 3000); do : > /tmp/$i; done; sleep 20"
    limits = Limits(memory_mb=4096, disk_mb=8)
    ending, _ = bench.roll_out("python /agent/agent.py", lambda request: crowd, limits=limits)
    assert ending.exit is Exit.SANDBOX_LIMIT
    assert "there were more than 2048 files" in ending.detail


def test_a_program_that_only_says_that_it_was_killed_is_a_fault(bench: Bench) -> None:
    ending, _ = bench.roll_out("echo '[killed: it had more than 4 processes]'; exit 137")
    assert ending.exit is Exit.INFRASTRUCTURE_FAULT


@pytest.mark.parametrize(
    ("command", "exit"),
    [("python /agent/agent.py", Exit.SANDBOX_LIMIT), ("kill -9 $$", Exit.INFRASTRUCTURE_FAULT)],
    ids=["by the model", "by itself"],
)
def test_a_program_that_a_signal_ends_after_a_turn_is_the_models_doing(
    bench: Bench, tmp_path: Path, command: str, exit: Exit
) -> None:
    """The model kills all processes, the agent and its way out among them."""
    row = bench.whole(tmp_path, command, ScriptedPolicy("student", lambda request: "kill -9 -1"))
    assert (row.exit, row.resolved) == (exit, False if exit is Exit.SANDBOX_LIMIT else None)


@pytest.mark.parametrize(
    ("delay", "exit"), [(0.0, Exit.TIME_LIMIT), (60.0, Exit.INFRASTRUCTURE_FAULT)], ids=["the model", "its server"]
)
def test_a_time_that_went_to_waiting_for_a_server_is_a_fault(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delay: float, exit: Exit
) -> None:
    monkeypatch.setattr("rollin.rollout.RETRIES", 0)
    policy = ScriptedPolicy("student", lambda request: "sleep 60", delay)
    row = bench.whole(tmp_path, "python /agent/agent.py", policy, seconds=6)
    assert (row.exit, row.resolved) == (exit, False if exit is Exit.TIME_LIMIT else None)


def test_the_example_shows_what_a_command_printed_that_took_too_long(bench: Bench) -> None:
    program = (ROOT / "examples" / "agent" / "agent.py").read_text()
    (bench.folder / "agent.py").write_text(program.replace("SECONDS = 30", "SECONDS = 1"))
    commands = ["echo first; echo odd >&2; sleep 20", "sleep 20", "echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT"]
    ending, _ = bench.roll_out("python /agent/agent.py", lambda request: f"```bash\n{commands[request.turn]}\n```")
    assert ending.exit is Exit.SUBMITTED
    *_, last = bench.store.turns(1)
    seen = [message["content"] for message in bench.store.state_messages(last.state_id) if message["role"] == "user"]
    assert seen[1:] == ["first\nodd\n\n(timed out)", "(timed out)"]


def test_a_program_that_is_not_there_is_a_fault(bench: Bench) -> None:
    ending, _ = bench.roll_out("no-such-agent")
    assert ending.exit is Exit.INFRASTRUCTURE_FAULT
    assert "no-such-agent: command not found" in ending.detail


def test_a_gateway_that_is_gone_is_a_fault(bench: Bench) -> None:
    ending, _ = bench.roll_out("python /agent/agent.py", lambda request: RuntimeError("gone"))
    assert ending.exit is Exit.INFRASTRUCTURE_FAULT


def test_it_sees_more_of_the_host_where_it_asks_for_it(bench: Bench, tmp_path: Path) -> None:
    tool = tmp_path / "opt" / "tool"
    tool.parent.mkdir()
    tool.write_text("echo VALUE = 7 > module.py; touch $(dirname $0)/x 2>/dev/null && exit 3; exit 0")
    ending, module = bench.roll_out(f"bash {tool}", visible=[tool.parent])
    assert (ending.exit, module) == (Exit.SUBMITTED, "VALUE = 7\n"), "and may not write there"


@pytest.mark.parametrize("path", ["/nowhere", "examples"])
def test_what_it_cannot_be_shown_is_said(path: str) -> None:
    with pytest.raises(UserError, match=f"nothing at {path}"):
        CommandHarness(CommandSettings(kind="command", command="true", visible=[Path(path)]))


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="no folder /nowhere"):
        CommandHarness(CommandSettings(kind="command", command="x", folder=Path("/nowhere")))


def test_the_example_is_trained_as_it_is(tiny_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/your-agent.md: the teacher repairs real tasks through the example's program, and a student learns it."""
    monkeypatch.chdir(ROOT)
    changes = [
        f"student.model={tiny_directory}",
        "iterations=1",
        "tasks_per_iteration=4",
        "method.roll_in.beta.values=[1.0]",
        "evaluation.base=false",
        "training.parameters=full",
        "tasks.train=[{source: kata, family: visible, count: 2}, {source: kata, family: regression, count: 2}]",
        "tasks.eval=[{source: kata, family: visible, count: 1}]",
    ]
    recipe = load_recipe(ROOT / "recipes" / "your-agent.yaml", changes)
    runs.start(recipe, tmp_path / "run", ConsoleReporter(Console(quiet=True)))
    with Store.read(tmp_path / "run" / "run.db") as store:
        collected = store.trajectories(purpose=Purpose.COLLECT)
        assert [row.resolved for row in collected] == [True] * 4
        (measured,) = store.trajectories(purpose=Purpose.EVAL)
        assert measured.exit in (Exit.SUBMITTED, Exit.CONTEXT_LIMIT), "what ends the program with it is not its fault"
        assert measured.resolved is False
        assert store.iterations()[-1].trained("labels") == sum(len(store.turns(row.id)) for row in collected)
