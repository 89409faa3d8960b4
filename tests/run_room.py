"""Parts for tests of whole runs: a small recipe, and the command line as a process."""

import os
import subprocess
import sys
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
