"""Parts for tests of whole runs: a small recipe, and the command line as a process."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from scripted import hears_ctrl_c


def write_recipe(path: Path, model: Path, **changes: Any) -> Path:
    recipe: dict[str, Any] = {
        "name": "small",
        "method": {
            "name": "dagger",
            "roll_in": {"kind": "turn_mixture", "beta": {"kind": "list", "values": [1.0, 0.6]}},
        },
        "iterations": 2,
        "tasks_per_iteration": [2, 1],
        "concurrency": 2,
        # float32: what a student says is to be the same whichever requests share a pass
        "student": {"model": str(model), "sampling": {"temperature": 0.0, "max_tokens": 12}, "precision": "float32"},
        "tasks": {
            "train": [{"source": "kata", "family": "visible", "count": 3}],
            "eval": [{"source": "kata", "family": "visible", "count": 2}],
        },
        "harness": {"max_turns": 12},
        "training": {"learning_rate": 1e-3},
    }
    path.write_text(yaml.safe_dump(recipe | changes))
    return path


def rollin(cache: Path, *arguments: object) -> subprocess.Popen[str]:
    env = os.environ | {"ROLLIN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rollin.cli", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, env=env, text=True, stdout=pipe, stderr=pipe, preexec_fn=hears_ctrl_c)


def finish(process: subprocess.Popen[str], expected: int = 0) -> str:
    out, err = process.communicate(timeout=300)
    assert process.returncode == expected, out + err
    return out + err


FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["rollin.runs", "rollin.comparison", "rollin.cli"])
"""To load torch and transformers takes longer than a small run does."""


def ran(cache: Path, *arguments: object, expected: int = 0) -> str:
    """What the command line prints, in a process of its own that need not load everything anew."""
    env = {"ROLLIN_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    with tempfile.NamedTemporaryFile() as screen:
        process = FORKS.Process(target=_command, args=([*map(str, arguments)], env, screen.name))
        process.start()
        process.join(300)
        process.kill()
        printed = screen.read().decode()
    assert process.exitcode == expected, printed
    return printed


def _command(arguments: list[str], env: Mapping[str, str], screen: str) -> None:
    os.environ |= env
    sys.argv = ["rollin", *arguments]
    with open(screen, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    from rollin.cli import main

    main()
