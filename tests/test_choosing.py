"""Which tasks are taken, which are held out, and what may not be on both sides."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from published_rows import AFTER, BEFORE, commit, diff, r2e_gym, swe_bench, swe_gym, swe_smith, write
from pydantic import ValidationError

from rollin.errors import UserError
from rollin.tasks.choosing import Choice, Chosen, held_out
from rollin.tasks.overlap import check_apart
from rollin.tasks.published.reading import Skipped, Source, read
from rollin.tasks.schema import Split, Task
from rollin.tasks.sets import TaskSettings, load_tasks

LONG = diff(BEFORE, "# a comment\n" * 20 + AFTER)


def choose(path: Path, **wanted: Any) -> Chosen:
    return Choice(**wanted).of(read(Source(str(path), True)), str(path))


def numbers(chosen: Chosen) -> list[int]:
    return [int(task.instance_id.rpartition("-")[2]) for task in chosen.tasks]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Ten of SWE-Gym, of three repositories; the last has a long patch, one is no task."""
    repos = ["dask/dask"] * 5 + ["bokeh/bokeh"] * 3 + ["python/mypy"] * 2
    made = [swe_gym(number, repo) for number, repo in enumerate(repos)]
    made[9]["patch"] = LONG
    return write(tmp_path / "rows.parquet", *made, swe_gym(10, patch="none"))


def test_filters_say_what_they_left_out(rows: Path) -> None:
    assert numbers(choose(rows)) == [*range(10)]
    chosen = choose(rows, repos=["Dask/dask", "python/mypy"], without_repos=["python/mypy"])
    assert numbers(chosen) == [0, 1, 2, 3, 4]
    assert chosen.left_out == {"of other repositories": 3, "of without_repos": 2}
    chosen = choose(rows, max_patch_lines=4)
    assert numbers(chosen) == [*range(9)]
    assert chosen.left_out == {"with a patch of more than 4 lines": 1}
    assert chosen.skipped == [Skipped("Project-MONAI__MONAI-10", "its 'patch' is no patch")]
    assert numbers(choose(rows, ids=["dask__dask-3", "python__mypy-8"])) == [3, 8]
    assert numbers(choose(rows, ids=["dask__dask-3", "dask__dask-4"], without_ids=["dask__dask-4"])) == [3]
    assert numbers(choose(rows, without_repos=["dask/dask"], count=2)) == [5, 6]


def test_count_reads_no_further_than_it_has_to(rows: Path) -> None:
    assert choose(rows, count=3).skipped == []  # the bad row comes last


@pytest.mark.parametrize(
    ("wanted", "complaint"),
    [
        ({"ids": ["dask__dask-3", "dask__dask-99"]}, r"has no task 'dask__dask-99'"),
        ({"repos": ["nobody/nothing"]}, r"no task of .* is left: 10 of other repositories"),
        (
            {"ids": ["dask__dask-3"], "max_patch_lines": 1},
            "no task of .* is left: 9 not in ids, 1 with a patch of more",
        ),
    ],
)
def test_a_choice_that_leaves_nothing_is_one_sentence(rows: Path, wanted: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        choose(rows, **wanted)


@pytest.mark.parametrize("half", [{"part": "train"}, {"held_out": 3}])
def test_a_part_is_of_a_number_that_is_held_out(half: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="belong together"):
        Choice(**half)


def test_the_two_parts_are_the_whole_and_filters_do_not_move_them(rows: Path) -> None:
    held, rest = (numbers(choose(rows, held_out=3, part=part)) for part in ("held_out", "train"))
    assert len(held) == 3
    assert sorted(held + rest) == [*range(10)]
    dask = numbers(choose(rows, held_out=5, part="held_out", without_repos=["bokeh/bokeh"]))
    assert set(dask) <= set(numbers(choose(rows, held_out=5, part="held_out")))
    assert numbers(choose(rows, held_out=3, part="train", count=2)) == rest[:2]


def test_what_is_at_a_commit_of_a_held_out_task_is_in_neither_part(tmp_path: Path) -> None:
    """Or the same files would be trained on that are evaluated on."""
    same = [swe_gym(number, base_commit=commit(number // 2)) for number in range(10)]
    path = write(tmp_path / "rows.jsonl", *same)
    held, rest = (choose(path, held_out=2, part=part) for part in ("held_out", "train"))
    check_apart(rest.tasks, held.tasks, "repositories")
    assert rest.left_out["at a commit where a task is held out"] + len(rest.tasks) == 8
    smith = write(tmp_path / "smith.jsonl", *(swe_smith(number) for number in range(10)))
    assert len(choose(smith, held_out=2, part="train").tasks) == 8, "their rows name no commit"


ids = st.sets(st.text("abc-_1", min_size=1), min_size=1, max_size=40)


@given(ids, st.integers(1, 50), st.randoms(use_true_random=False))
def test_what_is_held_out_does_not_depend_on_order(names: set[str], count: int, rng: random.Random) -> None:
    shuffled = rng.sample(sorted(names), len(names))
    assert held_out(shuffled, count) == held_out(sorted(names), count)
    assert len(held_out(names, count)) == min(count, len(names))


@given(ids, st.integers(1, 50), st.text("xyz", min_size=1))
def test_one_task_more_moves_one_at_most(names: set[str], count: int, new: str) -> None:
    before, after = held_out(names, count), held_out({*names, new}, count)
    assert len(before - after) <= 1
    assert after - before <= {new}


def test_what_is_held_out_stays_the_same_from_version_to_version() -> None:
    """A change of the hash would move them, and runs of both versions could not be compared."""
    names = [f"dask__dask-{number}" for number in range(12)]
    assert held_out(names, 3) == {"dask__dask-1", "dask__dask-2", "dask__dask-11"}


# --- decontamination ------------------------------------------------------------------------------------------------


def tasks(tmp_path: Path, *rows: dict[str, Any]) -> list[Task]:
    return choose(write(tmp_path / "some.jsonl", *rows)).tasks


@pytest.mark.parametrize("allowed", [None, "repositories"])
def test_the_same_instance_or_commit_is_never_on_both_sides(tmp_path: Path, allowed: Any) -> None:
    one = tasks(tmp_path, swe_bench(1))
    with pytest.raises(UserError, match="the task 'astropy__astropy-1' is in both train and eval"):
        check_apart(one, one, allowed)
    other = tasks(tmp_path, swe_bench(2, instance_id="Astropy__ASTROPY-1"))
    with pytest.raises(UserError, match="the task 'astropy__astropy-1'"):
        check_apart(one, other, allowed)
    fork = tasks(tmp_path, swe_bench(3, "fork/astropy", base_commit=commit(1)))
    with pytest.raises(UserError, match=f"at the commit {commit(1)} are in both"):
        check_apart(one, fork, allowed)


def test_one_archive_by_two_names_is_one_package() -> None:
    def task(name: str, digit: str) -> Task:
        origin = f"pypi:{name}==1.0#sha256={digit * 64}"
        return Task.bare(f"package__{name}-1", module=name, repo=f"pypi/{name}", pristine=origin)

    check_apart([task("toolz", "a")], [task("zlootz", "b")])
    with pytest.raises(UserError, match=r"tasks of one archive .* are in both train and eval, by other names"):
        check_apart([task("toolz", "a")], [task("zlootz", "a")])


def test_the_same_repository_is_on_both_sides_only_where_that_is_meant(tmp_path: Path) -> None:
    one, other = tasks(tmp_path, swe_gym(1, "dask/dask")), tasks(tmp_path, swe_gym(2, "dask/dask"))
    with pytest.raises(UserError, match=r"the repository 'dask/dask' are in both train and eval.*allow_overlap"):
        check_apart(one, other)
    check_apart(one, other, "repositories")
    check_apart(one, tasks(tmp_path, swe_gym(2, "bokeh/bokeh")))


def test_a_repository_is_known_by_its_other_names(tmp_path: Path) -> None:
    """SWE-smith's mirrors, R2E-Gym's names without an owner, our tasks of packages."""
    smith, gym = tasks(tmp_path, swe_smith()), tasks(tmp_path, swe_bench(2, "OAuthlib/oauthlib"))
    with pytest.raises(UserError, match="'oauthlib/oauthlib'"):
        check_apart(smith, gym)
    r2e, bench = tasks(tmp_path, r2e_gym(1)), tasks(tmp_path, swe_bench(2, "aio-libs/aiohttp"))
    with pytest.raises(UserError, match="'aio-libs/aiohttp'"):
        check_apart(r2e, bench)
    with pytest.raises(UserError, match="'aiohttp'"):
        check_apart(r2e, tasks(tmp_path, r2e_gym(2)))
    ours = [Task.bare("package__requests-1", repo="pypi/requests", module="requests", source="package")]
    with pytest.raises(UserError, match="'psf/requests'"):
        check_apart(ours, tasks(tmp_path, swe_bench(2, "psf/requests")))
    check_apart(ours, tasks(tmp_path, swe_bench(2, "psf/black")))
    ours = [Task.bare("package__x-1", repo="pypi/typing-extensions", module="Typing.Extensions", source="package")]
    with pytest.raises(UserError, match="'python/typing_extensions'"):
        check_apart(ours, tasks(tmp_path, swe_bench(2, "python/typing_extensions")))


@pytest.mark.parametrize("named", ["OAuthlib/oauthlib", "oauthlib", "swesmith/oauthlib__oauthlib.1fd52536"])
def test_a_repository_that_is_refused_can_be_left_out_by_that_name(tmp_path: Path, named: str) -> None:
    smith = write(tmp_path / "smith.jsonl", swe_smith(1), swe_smith(2, repo="swesmith/pallets__click.aaaaaaaa"))
    assert [task.repo[9:15] for task in choose(smith, without_repos=[named]).tasks] == ["pallet"]
    check_apart(choose(smith, without_repos=[named]).tasks, tasks(tmp_path, swe_bench(1, "oauthlib/oauthlib")))
    assert len(choose(smith, repos=["oauthlib/oauthlib"]).tasks) == 1
    r2e = write(tmp_path / "r2e.jsonl", r2e_gym(1))
    with pytest.raises(UserError, match="1 of without_repos"):
        choose(r2e, without_repos=["aio-libs/aiohttp"])


@pytest.mark.parametrize("spelled", ["AB" * 20, "ab" * 6, "ABABABA"])
def test_a_commit_is_known_however_it_is_spelled(tmp_path: Path, spelled: str) -> None:
    rows = [swe_gym(1, base_commit="ab" * 20), swe_gym(2, base_commit=spelled)]
    one, other = ([task] for task in tasks(tmp_path, *rows))
    with pytest.raises(UserError, match="tasks at the commit"):
        check_apart(one, other, "repositories")
    with pytest.raises(UserError, match="1 at a commit where a task is held out"):
        choose(tmp_path / "some.jsonl", held_out=1, part="train")


@pytest.mark.parametrize("allowed", [None, "repositories"])
def test_our_own_tasks_are_split_by_module_whatever_is_allowed(allowed: Any) -> None:
    def own(number: int, module: str) -> list[Task]:
        return [Task.bare(f"kata-{number}", repo=f"kata/{module}", module=module, base_commit=commit(number))]

    with pytest.raises(UserError, match=r"tasks of 'roman' are in both train and eval; split by module"):
        check_apart(own(1, "roman"), own(2, "roman"), allowed)
    check_apart(own(1, "roman"), own(2, "cart"), allowed)
    with pytest.raises(UserError, match="tasks of 'my-pkg' are in both"):
        check_apart(own(1, "my_pkg"), own(2, "My.Pkg"), allowed)


# --- in a recipe ----------------------------------------------------------------------------------------------------


def load(tmp_path: Path, **settings: Any) -> tuple[list[Task], list[Task], list[str]]:
    said: list[str] = []
    train, evaluation = load_tasks(TaskSettings(**settings), tmp_path, lambda _: None, said.append)
    return train, evaluation, said


def test_a_recipe_takes_both_parts_of_a_file_and_says_once_what_was_skipped(rows: Path, tmp_path: Path) -> None:
    parts = [{"file": rows, "held_out": 3, "part": part} for part in ("train", "held_out")]
    with pytest.raises(UserError, match="allow_overlap"):
        load(tmp_path, train=parts[:1], eval=parts[1:])
    train, evaluation, said = load(tmp_path, train=parts[:1], eval=parts[1:], allow_overlap="repositories")
    assert (len(train), len(evaluation)) == (7, 3)
    assert said == [f"{rows}: 1 skipped, its 'patch' is no patch: Project-MONAI__MONAI-10"]


def test_a_recipe_says_where_there_are_fewer_than_it_wants(rows: Path, tmp_path: Path) -> None:
    other = [{"file": write(tmp_path / "eval.jsonl", swe_bench(50))}]
    *_, said = load(tmp_path, train=[{"file": rows, "repos": ["dask/dask"], "count": 9}], eval=other)
    assert said[-1] == f"{rows}: only 5 of 9 tasks are there"


def test_read_and_built_tasks_stand_beside_each_other(rows: Path, tmp_path: Path) -> None:
    games = {"source": "gym", "name": "guess", "count": 2}
    train, evaluation, _ = load(tmp_path, train=[{"file": rows, "count": 2}, games], eval=[games])
    assert [task.source for task in train] == ["swe-gym", "swe-gym", "gym", "gym"]
    assert [task.split for task in evaluation] == [Split.EVAL] * 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"dataset": "SWE-Gym/SWE-Gim"}, "did you mean 'SWE-Gym/SWE-Gym'"),
        ({"dataset": "SWE-Gym/SWE-Gym", "part": "train"}, "belong together"),
        ({"file": "x.jsonl", "format": "swe"}, "'rollin', 'swe-bench', 'swe-gym', 'swe-smith' or 'r2e-gym'"),
        ({"file": "x.jsonl", "max_patch_lines": 0}, "greater than or equal to 1"),
        ({"dataset": "../secrets"}, "should match pattern"),
    ],
)
def test_a_set_that_cannot_be_is_refused_before_anything_is_read(content: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TaskSettings(train=[content], eval=[content])


def test_a_data_set_of_any_name_is_taken_in_a_format_that_is_said() -> None:
    settings = TaskSettings.model_validate(
        {
            "train": [{"dataset": "me/my-rows", "format": "swe-gym"}],
            "eval": [{"dataset": "princeton-nlp/SWE-bench_Verified", "revision": "c104f840"}],
        }
    )
    assert settings.count == 0
