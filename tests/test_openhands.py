"""OpenHands' agent, as its SDK makes it, in the sandbox and through the gateway. It needs a Python of its own."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from expert_room import broken_task, regression_task
from test_command import Bench, bench, template  # noqa: F401 - fixtures

from rollin.messages import Function, ToolCall, offered
from rollin.policies.base import Action, Request
from rollin.policies.expert import Expert
from rollin.store import Exit
from rollin.tasks.schema import Family

EXAMPLE = Path(__file__).parents[1] / "examples" / "openhands"
NAMES = ("python3.12", "python3.13", "python3.14")


@pytest.fixture(scope="module")
def openhands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with its SDK, which wants Python 3.12 or newer."""
    folder = tmp_path_factory.mktemp("openhands") / "venv"
    made = (subprocess.run(["bash", "-c", f"{name} -m venv {folder}"], check=False) for name in NAMES)
    if all(process.returncode for process in made):
        pytest.skip(f"none of {', '.join(NAMES)} is here")
    wanted = ["openhands-sdk>=1.58,<2", "openhands-tools>=1.58,<2"]
    subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", *wanted], check=True)
    return folder


def around(openhands: Path) -> dict[str, Any]:
    """What the harness needs to be told of it."""
    visible = [openhands, (openhands / "bin/python").resolve().parents[1]]
    return {"visible": visible, "env": {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "OPENHANDS_SUPPRESS_BANNER": "1"}}


@pytest.mark.slow
def test_the_expert_acts_by_openhands_tools(bench: Bench, openhands: Path, tmp_path: Path) -> None:  # noqa: F811
    kinds = ("misspelled_key", "missing_colon", "missing_bracket")
    tasks = [broken_task("password", Family.VISIBLE, kinds, tmp_path), regression_task(tmp_path, conflict=False)]
    (bench.folder / "agent.py").write_text((EXAMPLE / "agent.py").read_text())
    for task in tasks:
        row = bench.whole(tmp_path, f"{openhands}/bin/python /agent/agent.py", Expert(), task, **around(openhands))
        assert (row.exit, row.resolved) == (Exit.SUBMITTED, True)


@pytest.mark.slow
def test_openhands_repairs(bench: Bench, openhands: Path) -> None:  # noqa: F811
    tools = [("terminal", {"command": "cat module.py"}), ("terminal", {"command": "sed -i s/0/1/ module.py"})]
    tools.append(("finish", {"message": "It is repaired."}))

    def act(request: Request) -> Action:
        name, arguments = tools[request.turn]
        function = Function(name=name, arguments=json.dumps(arguments))
        return Action("", tool_calls=[ToolCall(id=f"call_{request.turn}", type="function", function=function)])

    (bench.folder / "agent.py").write_text((EXAMPLE / "agent.py").read_text())
    ending, module = bench.roll_out(f"{openhands}/bin/python /agent/agent.py", act, **around(openhands))
    assert (ending.exit, ending.detail, module) == (Exit.SUBMITTED, "", "VALUE = 1\n")
    turns = bench.store.turns(1)
    offers, state = offered(bench.store.state_messages(turns[2].state_id))
    assert {"terminal", "file_editor", "finish"} <= {tool["function"]["name"] for tool in offers}
    assert [message["role"] for message in state] == ["system", "user", *["assistant", "tool"] * 2]
    assert state[3]["content"].startswith("VALUE = 0\n")
