"""Building a task's repository."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from rollin.errors import UserError
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.tasks.cache import cache_folder
from rollin.tasks.repository import build_repository, materialise, pristine_files, repository_shas
from rollin.tasks.schema import Commit, Task

FILES = {"a.py": b"a = 1\n", "data/b.bin": bytes(range(256))}
HISTORY = [
    Commit(subject="The beginning", files={"a.py": "a = 2\n", "gone.txt": "x\n"}),
    Commit(subject='Odd "names" and größe', files={'odd "name"\\ é.txt': "odd\n", "gone.txt": None}),
    Commit(subject="The head", files={"a.py": "a = 3\n"}),
]
HEAD = "0ddd2ca2b7ff22dadc35e43ff35a390df5f77994"


def task(**fields: object) -> Task:
    base = {"instance_id": "one", "repo": "kata/roman", "problem_statement": "", "patch": "", "pristine": "kata:roman"}
    return Task.model_validate({**base, "base_commit": "", "FAIL_TO_PASS": [], "PASS_TO_PASS": [], **fields})


def test_the_commit_ids_are_the_same_everywhere(tmp_path: Path) -> None:
    path, head = build_repository(FILES, HISTORY, tmp_path)
    assert head == HEAD
    assert path == tmp_path / f"{HEAD}.git"
    assert len(repository_shas(path)) == 3
    assert repository_shas(path)[-1] == head


def test_the_hosts_git_settings_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\nname = Someone\n[init]\ndefaultObjectFormat = sha256\n[core]\nbroken")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Someone")
    assert build_repository(FILES, HISTORY, tmp_path / "cache")[1] == HEAD


def test_a_cache_may_be_named_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROLLIN_CACHE", "cache")
    assert cache_folder() == tmp_path / "cache"
    assert build_repository(FILES, HISTORY, Path("cache"))[1] == HEAD


def test_each_commit_holds_its_files(tmp_path: Path) -> None:
    with BubblewrapSandbox(build_repository(FILES, HISTORY, tmp_path)[0]) as sandbox:
        assert sandbox.run("cat a.py 'odd \"name\"\\ é.txt'; ls gone.txt").output.startswith("a = 3\nodd\nls:")
        assert sandbox.run("git show HEAD~2:a.py HEAD~2:gone.txt").output == "a = 2\nx\n"
        assert sandbox.run("git log --reverse --format='%s|%an|%at'").output.splitlines() == [
            "The beginning|Ada Developer|1704099600",
            'Odd "names" and größe|Ada Developer|1704103200',
            "The head|Ada Developer|1704106800",
        ]
        assert sandbox.run("od -A n -t u1 -w256 data/b.bin").output.split() == [str(byte) for byte in range(256)]


def test_without_a_history_there_is_one_commit_of_the_pristine_files(tmp_path: Path) -> None:
    path, _ = build_repository(FILES, [], tmp_path)
    assert len(repository_shas(path)) == 1
    with BubblewrapSandbox(path) as sandbox:
        assert sandbox.run("git log --format=%s; cat a.py").output == "Initial import\na = 1\n"


def test_nothing_but_the_repository_stays_in_the_cache(tmp_path: Path) -> None:
    build_repository(FILES, HISTORY, tmp_path)
    build_repository(FILES, HISTORY, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [f"{HEAD}.git"]


def _build(cache_dir: Path) -> str:
    return build_repository(FILES, HISTORY, cache_dir)[1]


def test_processes_that_build_the_same_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with ProcessPoolExecutor(4) as pool:
        assert set(pool.map(_build, [tmp_path] * 8)) == {HEAD}
    assert [path.name for path in tmp_path.iterdir()] == [f"{HEAD}.git"]


def test_a_kata_is_materialised_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = pristine_files(task())
    assert set(found) == {"roman.py", "test_roman.py"}
    head = build_repository(found, [], tmp_path)[1]
    made = task(base_commit=head)
    path = materialise(made, tmp_path / "other")
    assert path.is_dir()
    monkeypatch.setenv("PATH", "")  # the second time needs no git
    assert materialise(made, tmp_path / "other") == path


def test_files_that_do_not_give_the_base_commit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"task one.*base_commit is 000000000000"):
        materialise(task(base_commit="0" * 40), tmp_path)


def test_a_base_commit_that_is_no_id_names_no_other_repository(tmp_path: Path) -> None:
    (tmp_path / "private.git").mkdir()
    with pytest.raises(UserError, match=r"task one: its base_commit '.*private' is no commit's full id"):
        materialise(task(base_commit=f"{tmp_path}/private"), tmp_path / "cache")


@pytest.mark.parametrize("pristine", ["", "kata:nosuchkata", "svn:x"])
def test_an_unknown_origin_names_the_task(tmp_path: Path, pristine: str) -> None:
    with pytest.raises(UserError, match="task one"):
        materialise(task(base_commit="0" * 40, pristine=pristine), tmp_path)
