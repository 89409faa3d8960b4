"""A published repository of our own, and packages for its environment: nothing comes from a network.

The wheels are those of this machine's own pytest, packed again, and a dependency that is made up. The repository is
built by a backend of its own, which generates a module as setuptools_scm would.
"""

import importlib.metadata
import os
import subprocess
import textwrap
import zipfile
from dataclasses import dataclass
from pathlib import Path

from published_rows import diff

from rollin.tasks.schema import Environment, Task

RUNNER = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
MADE_UP = {"numerals": "SIGN = 'M'\n", "extras": "HERE = True\n", "setuptools": "# the real one is large\n"}
BUGGY = "from numerals import SIGN\nfrom roman._made import DAY\n\n\ndef double(number):\n    return number * 3\n"
FIXED = BUGGY.replace("* 3", "* 2")
OLD_TESTS = "from roman import SIGN\n\n\ndef test_sign():\n    assert SIGN == 'M'\n"
NEW_TESTS = OLD_TESTS.replace("SIGN\n\n", "SIGN, double\n\n", 1) + "\n\ndef test_double():\n    assert double(2) == 4\n"
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
BACKEND = '''
import pathlib, zipfile

METADATA = """Metadata-Version: 2.1
Name: roman
Version: 1.0
Requires-Dist: numerals
Provides-Extra: test
Requires-Dist: extras; extra == "test"
"""

def build_wheel(directory, config_settings=None, metadata_directory=None):
    files = {f"roman/{path.name}": path.read_text() for path in pathlib.Path("src/roman").glob("*.py")}
    files["roman/_made.py"] = "DAY = 1\\n"
    files["roman-1.0.dist-info/METADATA"] = METADATA
    files["roman-1.0.dist-info/entry_points.txt"] = "[console_scripts]\\ndouble = roman:double\\n"
    files["roman-1.0.dist-info/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files["roman-1.0.dist-info/RECORD"] = "".join(f"{name},,\\n" for name in files)
    with zipfile.ZipFile(pathlib.Path(directory) / "roman-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return "roman-1.0-py3-none-any.whl"
'''


@dataclass(frozen=True)
class Clone:
    """A clone, and commits of it: the task's base and the one after it, which holds the repair."""

    folder: Path
    base: str
    future: str


def make_clone(folder: Path, tests: str = "tests/test_roman.py") -> Clone:
    """Of `ada/roman`."""
    folder.mkdir(parents=True)

    def git(*words: str) -> str:
        names = {f"GIT_{who}_{what}": "a@b.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        dates = {f"GIT_{who}_DATE": "2021-05-13T12:00:00Z" for who in ("AUTHOR", "COMMITTER")}
        env = os.environ | names | dates | {"GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout

    def commit(subject: str, files: dict[str, str]) -> str:
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        git("add", "--all")
        git("commit", "--quiet", "--message", subject)
        return git("rev-parse", "HEAD").strip()

    git("init", "--quiet", "--initial-branch=master")
    build = {"pyproject.toml": PROJECT, "backend.py": BACKEND, ".gitignore": "_made.py\n"}
    commit("Import", {**build, "src/roman/__init__.py": FIXED, tests: OLD_TESTS})
    base = commit("Break double", {"src/roman/__init__.py": BUGGY})
    future = commit("Repair double", {"src/roman/__init__.py": FIXED, tests: NEW_TESTS})
    return Clone(folder, base, future)


def make_task(clone: Clone, **changed: object) -> Task:
    """The published task: a row of SWE-bench that says how it runs without a container."""
    return Task.bare(
        "ada__roman-1",
        **{
            "repo": "ada/roman",
            "base_commit": clone.base,
            "problem_statement": "double(2) is 6.",
            "patch": diff(BUGGY, FIXED, "src/roman/__init__.py"),
            "test_patch": diff(OLD_TESTS, NEW_TESTS, "tests/test_roman.py"),
            "FAIL_TO_PASS": ["tests/test_roman.py::test_double"],
            "PASS_TO_PASS": ["tests/test_roman.py::test_sign"],
            "image": "nobody/roman:1",
            "pristine": f"git:ada/roman@{clone.base}",
            "environment": Environment(),
            **changed,
        },
    )


def make_wheels(folder: Path) -> Path:
    """All that the environment wants."""
    folder.mkdir()
    for name in RUNNER:
        _packed(importlib.metadata.distribution(name), folder)
    for name, text in MADE_UP.items():
        info = f"{name}-1.0.dist-info"
        with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", text)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return folder


def _packed(distribution: importlib.metadata.Distribution, folder: Path) -> None:
    """An installed distribution as the wheel that it was."""
    stem = f"{distribution.metadata['Name'].replace('-', '_')}-{distribution.version}"
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and "tests" not in file.parts and path.suffix != ".pyc" and path.is_file():
                wheel.write(path, file.as_posix())


def published_script(clone: Clone) -> str:
    """What a data set's evaluation script does, in its shape: it is for a conda environment in /testbed."""
    patch = diff(OLD_TESTS, NEW_TESTS, "tests/test_roman.py")
    return (
        textwrap.dedent("""\
        #!/bin/bash
        set -uxo pipefail
        source /opt/miniconda3/bin/activate
        conda activate testbed
        cd /testbed
        git config --global --add safe.directory /testbed
        source /opt/miniconda3/bin/activate
        conda activate testbed
        python -m pip install -e .
        git checkout BASE tests/test_roman.py
        git apply -v - <<'EOF_114329324912'
        PATCHEOF_114329324912
        : '>>>>> Start Test Output'
        pytest -rA tests/test_roman.py
        : '>>>>> End Test Output'
        git checkout BASE tests/test_roman.py
        """)
        .replace("BASE", clone.base)
        .replace("PATCH", patch)
    )
