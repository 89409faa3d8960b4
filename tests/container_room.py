"""A real container engine and a small image, made of this machine's own files: nothing is pulled.

The image holds bash, git, the usual tools, Python and pytest, and in /testbed a repository whose history goes on after
the task's base commit.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from rollin.errors import InfrastructureFault, UserError
from rollin.sandboxes.engine import VARIABLE, Engine, engine

TOOLS = (
    *("bash", "sh", "env", "cat", "ls", "rm", "mv", "cp", "mkdir", "mktemp", "ln", "touch", "chmod", "sleep", "head"),
    *(
        "tail",
        "wc",
        "tee",
        "sort",
        "uniq",
        "cut",
        "tr",
        "printf",
        "echo",
        "true",
        "false",
        "dirname",
        "basename",
        "seq",
    ),
    *("base64", "yes", "dd", "id", "nohup", "setsid", "timeout", "sed", "grep", "find", "xargs", "awk", "diff", "git"),
)
LEFT_OUT = {
    "config-3.11-x86_64-linux-gnu",
    "test",
    "idlelib",
    "tkinter",
    "ensurepip",
    "lib2to3",
    "site-packages",
    "__pycache__",
    "turtledemo",
}
RUNNER = ("pytest", "_pytest", "py.py", "pluggy", "iniconfig", "packaging", "pygments")

BUGGY = "def double(number):\n    return number * 3\n\n\ndef zero():\n    return 0\n"
FIXED = BUGGY.replace("* 3", "* 2")
OLD_TESTS = "from roman import zero\n\n\ndef test_zero():\n    assert zero() == 0\n"
NEW_TESTS = OLD_TESTS.replace("zero\n\n", "double, zero\n\n", 1) + "\n\ndef test_double():\n    assert double(2) == 4\n"


@dataclass(frozen=True)
class Made:
    """What was made: an image's name, and commits of its repository."""

    image: str
    base: str
    future: str


def found_engine() -> Engine | str:
    """One that works here, or why there is none."""
    reasons = list[str]()
    for words in [os.environ[VARIABLE]] if VARIABLE in os.environ else ["docker", "podman"]:
        os.environ[VARIABLE] = words
        try:
            return engine()
        except (UserError, InfrastructureFault) as error:
            reasons.append(str(error))
            del os.environ[VARIABLE]
    return "; ".join(reasons)


def build(found: Engine, folder: Path, name: str) -> Made:
    """Import the image. Its repository is at the future commit, with a remote, a tag, a stash and a reflog. Skips the
    test where the engine answers, but starts no container."""
    repository = folder / "testbed"
    base, future = make_repository(repository)
    archive = folder / "root.tar"
    with tarfile.open(archive, "w") as tar:
        for place, path in _files().items():
            tar.add(path, place, recursive=False)
        tar.add(repository, "testbed")
        for path in ("tmp", "root", "proc", "sys", "dev", "run", "var/lib"):
            tar.addfile(_folder(path))
        for path, text in {"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n"}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    outcome = found.call("import", str(archive), name, seconds=600.0)
    assert outcome.returncode == 0, outcome.stderr
    archive.unlink()
    started = found.call("run", "--rm", "--network", "none", name, "/bin/bash", "-c", "true")
    if started.returncode != 0:
        found.call("rmi", "--force", name)
        pytest.skip(f"{found.name} starts no container here: {started.stderr.strip()[-200:]}")
    return Made(name, base, future)


def make_repository(folder: Path) -> tuple[str, str]:
    """(the task's base commit, the one after it that holds the fix)."""
    folder.mkdir()

    def git(*words: str) -> str:
        names = {
            f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        env = os.environ | names | {"GIT_CONFIG_GLOBAL": os.devnull}
        return subprocess.run(["git", *words], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout

    def commit(subject: str, **files: str) -> str:
        for stem, text in files.items():
            (folder / f"{stem}.py").write_text(text)
        git("add", "--all")
        git("commit", "--quiet", "--message", subject)
        return git("rev-parse", "HEAD").strip()

    git("init", "--quiet", "--initial-branch=master")
    commit("Import", roman=FIXED, test_roman=OLD_TESTS)
    git("tag", "v1.0")
    base = commit("Break double", roman=BUGGY)
    future = commit("Repair double", roman=FIXED, test_roman=NEW_TESTS)
    git("tag", "--annotate", "--message", "Double works again", "v1.1")
    git("branch", "fix")
    git("remote", "add", "origin", "https://example.org/roman.git")
    git("update-ref", "refs/remotes/origin/master", future)
    (folder / "roman.py").write_text("stashed = True\n")
    git("stash")
    git("gc", "--quiet")
    return base, future


def _folder(path: str) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
    return entry


def _files() -> dict[str, Path]:
    """Place in the image -> file of this machine."""
    programs = [Path(found) for tool in TOOLS if (found := shutil.which(tool, path="/usr/bin:/bin"))]
    python, standard = Path(sys.executable).resolve(), Path(sysconfig.get_path("stdlib"))
    modules = _modules(standard)
    linked = [python, *programs, *(path for path in modules if ".so" in path.suffixes)]
    listed = subprocess.run(["ldd", *map(str, linked)], capture_output=True, text=True).stdout
    libraries = [Path(path) for path in re.findall(r"(/\S+) \(0x", listed)]
    shells = [Path("/bin/bash"), Path("/bin/sh"), Path("/usr/bin/env")]
    files = {str(path): path.resolve() for path in (python, *programs, *modules, *libraries, *shells)}
    files |= {str(path): path for path in Path("/usr/lib/git-core").iterdir()}  # most are links to one program
    files |= {f"/usr/bin/{name}": python for name in ("python", "python3")}
    installed = Path(sysconfig.get_path("purelib"))
    for name in RUNNER:
        told = installed.glob(f"{name}-*.dist-info")  # pytest asks for its own version
        for path in [path for place in (installed / name, *told) for path in _modules(place)]:
            files[str(standard / "site-packages" / path.relative_to(installed))] = path
    return files


def _modules(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and not LEFT_OUT & set(path.relative_to(folder).parts) and path.suffix != ".pyc"
    ]
