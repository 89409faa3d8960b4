"""The data sets that rollin knows by their names on the Hugging Face hub."""

import difflib
from dataclasses import dataclass
from enum import StrEnum

from rollin.errors import UserError


class Format(StrEnum):
    """In which columns rows are."""

    ROLLIN = "rollin"
    """As `rollin tasks` writes them: SWE-bench's fields, and how to make the repository."""
    SWE_BENCH = "swe-bench"
    SWE_GYM = "swe-gym"
    SWE_SMITH = "swe-smith"
    R2E_GYM = "r2e-gym"


@dataclass(frozen=True)
class DataSet:
    """A data set on the hub."""

    format: Format
    split: str
    """The split that is meant where none is named."""
    official: bool = False
    """Whether the installed `swebench` evaluates it: its rows hold an image and an evaluation script."""


_BENCH = DataSet(Format.SWE_BENCH, "test", official=True)
_GYM = DataSet(Format.SWE_GYM, "train")
_SMITH = DataSet(Format.SWE_SMITH, "train")
_R2E = DataSet(Format.R2E_GYM, "train")

CATALOGUE = {
    # swebench/cli/_datasets.py and swebench/harness/utils.py of swebench 5.0.2
    "SWE-bench/SWE-bench": _BENCH,
    "SWE-bench/SWE-bench_Lite": _BENCH,
    "SWE-bench/SWE-bench_Verified": _BENCH,
    "SWE-bench/SWE-bench_Multilingual": _BENCH,
    # their former home, which mini-swe-agent 2.4 names (minisweagent/run/benchmarks/swebench.py)
    "princeton-nlp/SWE-bench": DataSet(Format.SWE_BENCH, "test"),
    "princeton-nlp/SWE-bench_Lite": DataSet(Format.SWE_BENCH, "test"),
    "princeton-nlp/SWE-bench_Verified": DataSet(Format.SWE_BENCH, "test"),
    # the cards of both: one split, `train`
    "SWE-Gym/SWE-Gym": _GYM,
    "SWE-Gym/SWE-Gym-Lite": _GYM,
    # swesmith/constants.py of swesmith 0.0.9 (HF_DATASET), and the part of it that is Python
    "SWE-bench/SWE-smith": _SMITH,
    "SWE-bench/SWE-smith-py": _SMITH,
    # the README of github.com/R2E-Gym/R2E-Gym
    "R2E-Gym/R2E-Gym-V1": _R2E,
    "R2E-Gym/R2E-Gym-Lite": _R2E,
    "R2E-Gym/R2E-Gym-Subset": _R2E,
}


def known(name: str) -> DataSet | None:
    """The data set of that name, however its letters are cased."""
    return next((found for full, found in CATALOGUE.items() if full.lower() == name.lower()), None)


def known_or_refused(name: str) -> DataSet:
    """UserError that says which one was meant, or which there are."""
    if found := known(name):
        return found
    near = difflib.get_close_matches(name, CATALOGUE, n=1, cutoff=0.6)
    meant = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise UserError(f"the data set {name!r} is not known; {meant} (or say its format: {', '.join(Format)})")
