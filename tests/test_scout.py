"""Scouting a package: a real sandbox runs the tests of a small one that is made here, so no network is needed."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rollin.errors import UserError
from rollin.tasks import sources
from rollin.tasks.build import Order, build
from rollin.tasks.cli import app
from rollin.tasks.git import can_hold
from rollin.tasks.packages import Package, origin_of, read_catalogue, write_catalogue
from rollin.tasks.repository import files_below, materialise, repository_shas
from rollin.tasks.schema import Family, Split
from rollin.tasks.scout import UnfitPackageError, scout, survey
from rollin.tasks.sources import Origin, digest, keep

SHAPES = '''
"""Areas."""

from pairs.numbers import clamp, half, mean


def square(side):
    """Of a square."""
    if side < 0:
        return 0
    return side * side


def triangle(base, height):
    """Of a triangle."""
    if base <= 0 or height <= 0:
        return 0
    return half(base * height)


def trapezoid(lower, upper, height):
    """Of a trapezoid."""
    if height <= 0:
        return 0
    return mean(lower, upper) * clamp(height, 0, 100)
'''
NUMBERS = '''
"""Numbers."""


def half(value):
    """The half, or nothing."""
    if value < 0:
        return 0
    return value / 2


def mean(left, right):
    """Between two."""
    return (left + right) / 2


def clamp(value, low, high):
    """Within bounds."""
    if value < low:
        return low
    if value > high:
        return high
    return value


def sign(value):
    """Which side."""
    if value > 0:
        return 1
    return -1 if value < 0 else 0


def double(value):
    """Twice."""
    if value < 0:
        return 0
    return 2 * value
'''
TESTS = """
from pairs.numbers import clamp, double, half, mean, sign
from pairs.shapes import square, trapezoid, triangle


def test_square():
    assert square(3) == 9
    assert square(-1) == 0


def test_triangle():
    assert triangle(3, 4) == 6
    assert triangle(0, 4) == 0


def test_trapezoid():
    assert trapezoid(2, 4, 5) == 15
    assert trapezoid(2, 4, 0) == 0
    assert trapezoid(2, 2, 200) == 200


def test_half():
    assert half(5) == 2.5
    assert half(-5) == 0


def test_mean():
    assert mean(2, 4) == 3


def test_clamp():
    assert clamp(7, 0, 5) == 5
    assert clamp(-7, 0, 5) == 0


def test_double():
    assert double(2) == 4


def test_sign():
    assert [sign(value) for value in (-2, 0, 2)] == [-1, 0, 1]
"""
REPORT = """
from pairs import numbers


def lines(values):
    found = []
    for value in values:
        if value:
            found.append(f"{value} {numbers.double(value)}")
    return found
"""
FILES = {
    "pairs/__init__.py": "",
    "pairs/shapes.py": SHAPES,
    "pairs/numbers.py": NUMBERS,
    "pairs/report.py": REPORT,
    "tests/test_report.py": "from pairs.report import lines\n\n\n"
    "def test_lines():\n    assert lines([0, 2, 3]) == ['2 4', '3 6']\n",
    "pairs/unused.py": "def nobody(calls, me):\n    return calls, me\n" * 12,
    "tests/test_pairs.py": TESTS,
    "tests/test_slow.py": "import time\n\n\ndef test_slow():\n    end = time.process_time() + 3\n"
    "    while time.process_time() < end:\n        pass\n",
    "tests/test_broken.py": "import no_such_module\n",
    "tests/test_moody.py": "import os\n\n\ndef test_moody():\n    assert os.getpid() < 0\n",
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Package]:
    """A source distribution, and what scouting says of it."""
    folder = tmp_path_factory.mktemp("pairs")
    for path, text in FILES.items():
        place = folder / "pairs-1.0" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    archive = folder / "pairs-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "pairs-1.0", "pairs-1.0")
    modules, left_out = survey(dict(files_below(folder / "pairs-1.0")))
    return archive, Package(name="pairs", version="1.0", sha256=digest(archive), modules=modules, left_out=left_out)


@pytest.fixture
def package(pairs: tuple[Path, Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package in the cache, as scouting leaves one."""
    monkeypatch.setenv("ROLLIN_CACHE", str(tmp_path / "cache"))
    archive, found = pairs
    keep(archive, found.origin)
    return found


def test_modules_with_quick_tests_are_found_and_other_tests_left_out(package):
    assert package.modules == {
        "pairs/numbers.py": ("tests/test_pairs.py",),
        "pairs/shapes.py": ("tests/test_pairs.py",),
    }
    assert {*package.left_out} == {"tests/test_slow.py", "tests/test_broken.py", "tests/test_moody.py"}
    assert {path for path, _ in files_below(sources.unpacked(package.origin))} == {*FILES} - {*package.left_out}


@pytest.mark.parametrize("family", [Family.SEMANTIC, Family.VISIBLE])
def test_faults_can_lie_in_several_files_of_a_scouted_package(package, tmp_path, family):
    write_catalogue(tmp_path / "packages.json", [package])
    order = Order("package", family, Split.EVAL, 2, faults=2, spread=True, catalogue=tmp_path / "packages.json")
    built = build(order, tmp_path / "built")
    assert len(built.tasks) == 2
    for task in built.tasks:
        assert len(task.fault_kinds) == 2
        assert task.patch.count("diff --git") == 2
        assert origin_of(task.pristine.removeprefix("pypi:")) == package.origin
    assert len(built.seconds) == 2
    assert all(built.tried[kind] >= kept for kind, kept in built.kinds.items())


def test_all_tests_of_a_package_pass_until_a_commit_breaks_it_and_later_ones_repair_something(package, tmp_path):
    """A unit knows its own file and its tests; `lines`, which has tests of its own, needs `double`."""
    write_catalogue(tmp_path / "packages.json", [package])
    order = Order("package", Family.REGRESSION, Split.EVAL, 2, catalogue=tmp_path / "packages.json")
    tasks = build(order, tmp_path / "built").tasks
    assert len(tasks) == 2
    for task in tasks:
        said = outcomes_of_commits(materialise(task, tmp_path / "built"), tmp_path / task.instance_id)
        bad = next(number for number, (_, failed) in enumerate(said) if failed)
        assert all(failed for _, failed in said[bad:])
        assert {*task.FAIL_TO_PASS} <= said[-1][1]
        later = {commit.subject for commit in task.history[bad + 1 :] if commit.subject.startswith("Fix ")}
        assert later, "a feature that going back would lose"
        assert said[-1][0] - said[bad - 1][0], "its tests"


def outcomes_of_commits(repository: Path, work: Path) -> list[tuple[set[str], set[str]]]:
    """The tests that passed and those that failed, of all that there are, commit by commit."""
    subprocess.run(["git", "clone", "--quiet", repository, work], check=True)
    said = []
    for commit in repository_shas(repository):
        subprocess.run(["git", "checkout", "--quiet", commit], cwd=work, check=True)
        command = [sys.executable, "-B", "-m", "pytest", "-q", "-rA", "--tb=no", "-p", "no:cacheprovider"]
        env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        lines = subprocess.run(command, cwd=work, env=env, text=True, capture_output=True).stdout.splitlines()
        passed, failed = ({line.split()[1] for line in lines if line.startswith(word)} for word in ("PASSED", "FAILED"))
        said.append((passed, failed))
    return said


def test_configuration_that_breaks_pytest_is_left_out(tmp_path):
    (tmp_path / "ours.py").write_text(NUMBERS)
    test = "from ours import *\n\n\ndef test_all():\n    assert half(2) == mean(1, 1) == clamp(1, 0, 2) == sign(3)\n"
    (tmp_path / "test_ours.py").write_text(test)
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    modules, left_out = survey(dict(files_below(tmp_path)))
    assert modules == {"ours.py": ("test_ours.py",)}
    assert left_out == ("pytest.ini",)


def test_files_that_fail_only_beside_others_are_left_out(tmp_path):
    test = "from ours import *\n\n\ndef test_all():\n    assert half(2) == mean(1, 1) == clamp(1, 0, 2) == sign(3)\n"
    (tmp_path / "ours.py").write_text(NUMBERS)
    for folder in ("one", "two"):  # without packages, pytest can't tell two files of the same name apart
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test_ours.py").write_text(test)
    modules, left_out = survey(dict(files_below(tmp_path)))
    assert modules == {"ours.py": ("one/test_ours.py",)}
    assert left_out == ("two/test_ours.py",)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"code.py": NUMBERS}, "holds no tests"),
        ({"code.py": NUMBERS, "test_code.py": "def test_it():\n    assert 1 == 2\n"}, "no module has tests that pass"),
    ],
)
def test_a_package_without_use_is_told_so(tmp_path, files, reason):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UnfitPackageError, match=reason):
        survey(dict(files_below(tmp_path)))


paths = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(can_hold)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,10}[a-z]", fullmatch=True)


@given(names, names, st.from_regex(r"[0-9a-f]{64}", fullmatch=True), st.lists(paths, max_size=3).map(tuple))
def test_an_origin_reads_what_it_writes(name, version, sha256, without):
    origin = Origin(name, version, sha256, without)
    assert Origin.parse(str(origin)) == origin


@pytest.mark.parametrize("text", ["pairs#sha256=00", "pairs==1.0#sha256=xyz", "==1#sha256=" + "0" * 64])
def test_an_origin_without_a_version_or_a_hash_is_refused(text):
    with pytest.raises(UserError, match="no pinned package"):
        Origin.parse(text)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "a/../../b", "a//b", "", ".git/HEAD", "a\0b"])
def test_only_files_of_the_package_can_be_left_out(path, tmp_path):
    entry = {"name": "x", "version": "1", "sha256": "0" * 64, "modules": {"a.py": ["t.py"]}}
    with pytest.raises(UserError, match="inside the package"):
        Origin("x", "1", "0" * 64, (path,))
    for wrong in ({"left_out": [path]}, {"modules": {path: ["t.py"]}}, {"modules": {"a.py": [path]}}):
        (tmp_path / "packages.json").write_text(json.dumps([entry | wrong]))
        with pytest.raises(UserError, match="no catalogue of packages"):
            read_catalogue.__wrapped__(tmp_path / "packages.json")


def test_what_is_left_out_is_not_looked_for_behind_a_link(tmp_path, monkeypatch):
    monkeypatch.setenv("ROLLIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x-1" / "code").mkdir(parents=True)
    (tmp_path / "x-1" / "up").symlink_to("..")
    with tarfile.open(tmp_path / "x-1.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x-1", "x-1")
    for path, reason in {"up/x": "a link leads out", "code": "name a file"}.items():
        with pytest.raises(UserError, match=reason):
            keep(tmp_path / "x-1.tar.gz", Origin("x", "1", digest(tmp_path / "x-1.tar.gz"), (path,)))


def test_a_catalogue_that_is_none_is_named(tmp_path):
    bad = tmp_path / "bad.json"
    with pytest.raises(UserError, match="cannot read the catalogue"):
        read_catalogue(bad)
    bad.write_text("{")
    with pytest.raises(UserError, match="no catalogue of packages"):
        read_catalogue(bad)
    bad.write_text(json.dumps([{"name": "x", "version": "1", "sha256": "0" * 64, "modules": {}}]))
    with pytest.raises(UserError, match=r"no catalogue of packages .*at least 1"):
        read_catalogue(bad)
    bad.write_text(json.dumps([{"name": "x", "version": "1", "sha256": "0" * 64, "modules": {"a.py": ["t.py"]}}] * 2))
    with pytest.raises(UserError, match="lists x twice"):
        read_catalogue(bad)


@pytest.mark.parametrize("same", [{"name": "My_Pkg", "sha256": "1" * 64}, {"name": "other"}])
def test_a_package_under_two_names_is_refused(same, tmp_path):
    entry = {"name": "my-pkg", "version": "1", "sha256": "0" * 64, "modules": {"a.py": ["t.py"]}}
    (tmp_path / "packages.json").write_text(json.dumps([entry, entry | same]))
    with pytest.raises(UserError, match=f"lists my-pkg twice .as {same['name']}"):
        read_catalogue(tmp_path / "packages.json")


@pytest.mark.parametrize("wrong", ["", "pairs>=0.5", "pairs[x]", "pairs @ file:///tmp/x", "-r list.txt", "pairs=="])
def test_only_a_name_or_a_name_and_a_version_is_scouted(wrong):
    assert "write <name> or <name>==<version>" in str(scout(wrong))


def test_what_pytest_needs_can_not_be_hidden_and_gets_no_entry():
    assert "can't be hidden" in str(scout("packaging"))
    assert "can't be hidden" in str(scout("Packaging==26.0"))


def test_a_package_is_in_the_catalogue_however_it_is_spelled(package, tmp_path):
    write_catalogue(tmp_path / "packages.json", [package])
    out = CliRunner().invoke(app, ["scout", "Pairs", "PAIRS==1.0", "--out", str(tmp_path / "packages.json")])
    assert out.output.count("it is in the catalogue") == 2


def test_the_command_says_why_a_package_gets_no_entry(tmp_path, monkeypatch):
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path), "PIP_CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    out = CliRunner().invoke(app, ["scout", "no-such-package", "--out", str(tmp_path / "packages.json")])
    assert out.exit_code == 0
    assert "cannot download no-such-package" in out.output
    assert not (tmp_path / "packages.json").exists()
