"""Patches of published data sets: turned round, they undo what they did; what is none is said."""

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rows import apply

from rollin.tasks.published.columns import Misfit
from rollin.tasks.published.patches import added, changed_lines, ended, files_of_tests, parse, touched, turned_round

contents = st.lists(st.sampled_from(["a", "b", "-- x", "++ y", "", "@@ -1 +1 @@", "\x0cpage"]), max_size=12)


@given(contents, contents, st.booleans(), st.booleans())
def test_a_patch_turned_round_undoes_it(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], after: list[str], ends: bool, still_ends: bool
) -> None:
    folder = tmp_path_factory.mktemp("turned")
    old, new = "\n".join(before) + "\n" * ends, "\n".join(after) + "\n" * still_ends
    for name, content in (("old", old), ("new", new)):
        (folder / name).mkdir()
        (folder / name / "calc.py").write_bytes(content.encode())
    command = ["git", "diff", "--no-index", "--no-color", "old", "new"]
    made = subprocess.run(command, cwd=folder, capture_output=True, check=False).stdout.decode()
    patch = made.replace("a/old/", "a/").replace("b/new/", "b/")
    turned = turned_round(patch)
    assert turned_round(turned) == patch
    assert changed_lines(turned) == changed_lines(patch)
    if patch:
        assert apply(turned, {"calc.py": new}, folder / "work") == {"calc.py": old}


soup = st.lists(
    st.sampled_from(
        [
            *("--- a/x", "+++ b/x", "@@ -1 +1 @@", "@@ -1,3 +1,2 @@ def f", "diff --git a/x b/x", "index 1..2 100644"),
            *("+a", "-b", " c", "\\ No newline at end of file", "", "new file mode 100644", "rename from x", "prose"),
        ]
    ),
    max_size=20,
)


@given(soup, st.text(max_size=40))
def test_what_is_no_patch_is_said_and_breaks_nothing(lines: list[str], end: str) -> None:
    for content in ("\n".join(lines) + end, end):
        for patch in (content, turned_round(content)):
            assert changed_lines(patch) >= 0
            with contextlib.suppress(Misfit):
                parse(patch, "patch")


@pytest.mark.parametrize("make", [lambda: added("new/file.py", "a\nb"), lambda: added("empty.py", "")])
def test_an_added_file_turned_round_is_deleted(tmp_path: Path, make: Callable[[], str]) -> None:
    patch = make()
    files = apply(patch, {}, tmp_path / "work")
    assert len(files) == 1
    assert apply(turned_round(patch), files, tmp_path / "work") == {}


def test_a_rename_turned_round_goes_back(tmp_path: Path) -> None:
    patch = (
        "diff --git a/old.py b/new.py\nsimilarity index 50%\nrename from old.py\nrename to new.py\n"
        "index 1111111..2222222 100644\n--- a/old.py\n+++ b/new.py\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    )
    assert apply(turned_round(patch), {"new.py": "a\nc\n"}, tmp_path / "work") == {"old.py": "a\nb\n"}


names = st.sampled_from(["calc.py", "b in.py", 'r\u00f6m/q"uo\\te.py', "tab\t.py", "data.json", "\U0001f600/x.py"])


@given(st.sets(names, min_size=1), st.sampled_from(["changed", "added", "removed"]))
def test_git_and_we_agree_on_which_files_a_patch_is_about(
    tmp_path_factory: pytest.TempPathFactory, paths: set[str], kind: str
) -> None:
    folder = tmp_path_factory.mktemp("named")

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout

    git("init", "--quiet")
    for path in paths:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text("1\n")
    if kind != "added":
        git("add", "--all")
        git("-c", "user.name=a", "-c", "user.email=a", "commit", "--quiet", "--message", "first")
    for path in paths:
        (folder / path).unlink() if kind == "removed" else (folder / path).write_text("2\n")
    git("add", "--all")
    patch = git("diff", "--cached")
    assert touched(patch) == paths
    held = set[str]() if kind == "removed" else {path for path in paths if path.endswith(".py")}
    assert set(files_of_tests(patch)) == held
    assert ended(patch.rstrip("\n")) == patch
