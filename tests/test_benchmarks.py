"""The benchmarks are in step with the code: each can be imported, as far as its `main`."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "benchmarks"
IMPORT_ALL = """
import importlib, pathlib, sys
folder = pathlib.Path(sys.argv.pop())
sys.path.insert(0, str(folder))
for path in sorted(folder.glob("*.py")):
    try:
        importlib.import_module(path.stem)
    except Exception as error:
        print(f"{path.name}: {error!r}")
"""


def test_every_benchmark_can_be_imported() -> None:
    command = [sys.executable, "-c", IMPORT_ALL, str(FOLDER)]
    outcome = subprocess.run(command, capture_output=True, text=True)
    assert (outcome.stdout, outcome.returncode) == ("", 0), outcome.stderr
