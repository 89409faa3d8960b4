"""Packages come by pip, are checked, and fail in one sentence."""

import io
import re
import sys
import tarfile
from pathlib import Path

import pytest

from rollin.errors import UserError
from rollin.harnesses.mini_swe_agent import MiniSweAgentSettings
from rollin.sandboxes.bubblewrap import BubblewrapSandbox
from rollin.sandboxes.surroundings import of_rollin
from rollin.sandboxes.workspace import copies_of
from rollin.tasks.build import Order, build, units_of
from rollin.tasks.packages import origin_of, read_catalogue
from rollin.tasks.repository import build_repository
from rollin.tasks.schema import Family, Split
from rollin.tasks.sources import unpack, unpacked

PACKAGES = read_catalogue()
TOOLZ = origin_of("toolz==1.0.0")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache, and a pip that finds only what lies in the returned folder."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "PIP_CONFIG_FILE", "ROLLIN_CACHE"):
        values = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_CONFIG_FILE": "/dev/null"}
        monkeypatch.setenv(name, values.get(name, str(tmp_path / "cache")))
    return wheels


def test_there_are_six_packages_or_more():
    assert len(PACKAGES) >= 6


def test_a_missing_network_is_one_clear_sentence(no_network):
    with pytest.raises(UserError, match=r"cannot download toolz==1\.0\.0 with pip .*check the network"):
        unpacked(TOOLZ)
    assert not list((no_network.parent / "cache").rglob("*"))


def test_an_archive_with_another_hash_is_refused(no_network):
    with tarfile.open(no_network / "toolz-1.0.0.tar.gz", "w:gz") as tar:
        entry = tarfile.TarInfo("toolz-1.0.0/setup.py")
        tar.addfile(entry, io.BytesIO())
    with pytest.raises(UserError, match=r"cannot download toolz==1\.0\.0"):
        unpacked(TOOLZ)


def test_a_path_that_leads_out_of_an_archive_is_refused(tmp_path):
    archive = tmp_path / "evil-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("../../evil.py"), io.BytesIO())
    with pytest.raises(UserError, match=r"evil-1.0.tar.gz can't be unpacked safely .*outside"):
        unpack(archive, tmp_path / "work")
    with tarfile.open(archive, "w:gz") as tar:
        link = tarfile.TarInfo("evil-1.0/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(UserError, match=r"can't be unpacked safely .*absolute"):
        unpack(archive, tmp_path / "again")


def test_an_unlisted_package_is_refused():
    with pytest.raises(UserError, match="not in rollin's own catalogue"):
        origin_of("requests==2.0")


@pytest.mark.parametrize("name", ["more-itertools", "idna", "typing-extensions"])
def test_a_package_under_repair_is_nowhere_in_sight(name: str, tmp_path: Path) -> None:
    """Installed, vendored, compiled or in an archive; pytest runs without it."""
    template, _ = build_repository({"test_one.py": b"def test_one(): pass\n"}, [], tmp_path)
    module = name.replace("-", "_")
    paths = [f"*/{module}/*.py", f"*/{module}/*.pyc", f"*/{module}.py", f"*/{module}.*.pyc", "*/pip-*.whl"]
    any_of_them = " -o ".join(f"-path '{path}'" for path in paths)
    find = f"find {sys.prefix} {sys.base_prefix} /usr/lib/python3 /usr/share '(' {any_of_them} ')'"
    find += " -not -path '*/encodings/*' -size +0 -print 2> /dev/null"
    with BubblewrapSandbox(template) as sandbox:
        assert sandbox.run(find, seconds=60.0).output, "there is nothing to hide here"
    with BubblewrapSandbox(template, around=of_rollin(copies_of(name))) as sandbox:
        assert sandbox.run(find, seconds=60.0).output == ""
        assert "1 passed" in sandbox.run("python -m pytest").output


@pytest.mark.slow
def test_package_tasks_build_on_both_sides_of_the_split():
    """Needs the network once. Uses the user's cache."""
    sides = [{unit.module for unit in units_of("package", split)} for split in Split]
    assert all(sides)
    assert not sides[0] & sides[1]
    for family in (Family.VISIBLE, Family.REGRESSION, Family.SEMANTIC):
        built = build(Order("package", family, Split.EVAL, 2))
        assert len(built.tasks) == 2


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_all_tests_of_a_package_pass_as_an_agent_runs_them(package, tmp_path):
    """The expert runs them all before it submits, and so should an agent: they pass, and soon."""
    folder = unpacked(package.origin)
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    repository, _ = build_repository(files, [], tmp_path)
    sandbox = BubblewrapSandbox(repository, env=MiniSweAgentSettings().env)
    result = sandbox.run("python -m pytest | tail -n 1", seconds=15)
    sandbox.close()
    assert re.search(r"[1-9]\d* passed", result.output), result.output
    assert not re.search(r"\b(failed|error)", result.output), result.output
