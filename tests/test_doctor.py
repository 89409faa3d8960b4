"""The doctor: it finds what is here, names a cure for what isn't, and never falls over."""

import io
import os
from pathlib import Path

import pytest
from rich.console import Console

from rollin import doctor
from rollin.doctor import Check, checks, exit_code, render
from rollin.sandboxes import bubblewrap
from rollin.sandboxes.groups import home


@pytest.fixture(scope="module")
def found() -> dict[str, Check]:
    return {check.name: check for check in checks()}


def said(checks: list[Check]) -> str:
    paper = io.StringIO()
    render(checks, Console(file=paper, width=120))
    return paper.getvalue()


def test_a_machine_that_runs_these_tests_is_well(found: dict[str, Check]) -> None:
    for name in ("Python", "git", "sandbox", "torch", "transformers", "mini-swe-agent", "swebench"):
        assert found[name].ok, found[name]
        assert found[name].found
        assert not found[name].cure


def test_a_sandbox_was_really_started(found: dict[str, Check]) -> None:
    assert "a command in it took" in found["sandbox"].found


def test_which_walls_hold_here_is_told(found: dict[str, Check]) -> None:
    with_them, _, without = found["sandbox's walls"].found.partition("; without ")
    assert "memory" in with_them
    assert "a control group for each sandbox" in (with_them if home() else without)
    each_its_own = with_them if os.geteuid() == 0 and not bubblewrap.check() else without
    assert "a uid for each sandbox" in each_its_own


def test_optional_parts_are_never_missing(found: dict[str, Check]) -> None:
    for name in doctor.OPTIONAL:
        assert found[name].ok
        assert not found[name].cure


def test_without_bubblewrap_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    bubblewrap.check.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    report = {check.name: check for check in checks()}
    monkeypatch.undo()
    bubblewrap.check.cache_clear()
    assert not report["sandbox"].ok
    assert "apt-get install -y bubblewrap" in report["sandbox"].cure
    assert not report["git"].ok
    assert "install git" in report["git"].cure
    assert exit_code(list(report.values())) == 1


def test_too_little_memory_and_disk_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor, "NEEDED_MEMORY", 1 << 60)
    monkeypatch.setattr(doctor, "NEEDED_RUNS", 1 << 60)
    report = {check.name: check for check in checks(tmp_path / "not" / "yet")}
    assert not report["memory"].ok
    assert not report["disk for runs"].ok
    assert "--out" in report["disk for runs"].cure


def test_a_control_groups_limit_counts(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    assert doctor._group_limit(limit) == float("inf")
    limit.write_text("max\n")
    assert doctor._group_limit(limit) == float("inf")
    limit.write_text("1073741824\n")
    assert doctor._group_limit(limit) == doctor.GIB


def test_a_check_that_breaks_is_a_finding() -> None:
    def broken() -> Check:
        raise ImportError("libcudart.so.12: cannot open shared object file")

    check = doctor._guarded("torch", broken)
    assert not check.ok
    assert "libcudart" in check.found


def test_what_is_missing_is_told_with_its_cure() -> None:
    report = [Check("git", True, "2.47"), Check("[sandbox]", False, "no [bwrap]", "run `apt-get install bubblewrap`")]
    text = said(report)
    assert "no [bwrap]" in text
    assert "[sandbox]: run `apt-get install bubblewrap`" in text
    assert "Everything" not in text
    assert (exit_code(report), exit_code(report[:1])) == (1, 0)
    assert "Everything that rollin needs is here." in said(report[:1])
