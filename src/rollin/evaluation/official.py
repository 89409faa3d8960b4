"""SWE-bench's own evaluation of a run's predictions, by the installed `swebench` in a process of its own.

It wants a Docker engine and, of each row of the data set, an image and an evaluation script: SWE-bench's data sets have
them from version 5 on, the others have not.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rollin.errors import InfrastructureFault, UserError
from rollin.store.export import Predictions, write_predictions
from rollin.tasks.published.catalogue import CATALOGUE, known

EVALUATED = sorted(name for name, found in CATALOGUE.items() if found.official)


@dataclass(frozen=True)
class Job:
    """What is to be evaluated, and how."""

    predictions: Predictions
    dataset: str
    split: str
    workers: int
    seconds: int
    """For the tests of one task."""


def job(predictions: Predictions, dataset: str | None, split: str | None, workers: int, seconds: int) -> Job:
    """The evaluation of the predictions by the data set that is named, or else that all of them came from. UserError
    where that can't be told, or can't be evaluated so."""
    name = dataset or _only_source(predictions)
    found = known(name)
    if found and not found.official:
        raise UserError(
            f"swebench can't evaluate tasks of {name}: its rows have no image and evaluation script (those of"
            f" {', '.join(EVALUATED)} have); `rollin eval` grades them by itself"
        )
    return Job(predictions, name, split or "test", workers, seconds)


def check_engine() -> None:
    """UserError where no Docker engine answers."""
    import docker

    try:
        docker.from_env(timeout=10).ping()
    except Exception as error:  # its transport raises what it likes
        raise UserError(
            "no Docker engine answers, and SWE-bench evaluates in containers: start one, or point DOCKER_HOST to it"
        ) from error


def evaluate(job: Job, folder: Path) -> dict[str, object]:
    """Run it in `folder`, where its logs go, and read its report. What it prints goes to the caller's terminal."""
    chosen = job.predictions.of(job.dataset) or job.predictions.rows
    folder.mkdir(parents=True, exist_ok=True)
    written = write_predictions(chosen, folder.resolve() / f"predictions-{job.predictions.iteration}.jsonl")
    run_id = "rollin"
    arguments = {
        **{"--dataset_name": _place(job.dataset), "--split": job.split, "--predictions_path": written},
        **{"--run_id": run_id, "--max_workers": job.workers, "--timeout": job.seconds, "--report_dir": "."},
    }
    command = [sys.executable, "-m", "swebench.harness.run_evaluation"]
    command += [str(part) for pair in arguments.items() for part in pair]
    done = subprocess.run(command, cwd=folder, check=False)
    report = folder / f"{job.predictions.name}.{run_id}.json"
    if done.returncode != 0 or not report.is_file():
        raise InfrastructureFault(f"swebench's evaluation ended with code {done.returncode}; what it said is above")
    content: dict[str, object] = json.loads(report.read_text(encoding="utf-8"))
    return content


def _only_source(predictions: Predictions) -> str:
    sources = sorted({predictions.sources[row["instance_id"]] for row in predictions.rows})
    published = [source for source in sources if known(source)]
    if len(sources) == 1 and published:
        return published[0]
    if len(published) > 1 or (published and len(sources) > 1):
        raise UserError(f"the tasks are from several places ({', '.join(sources)}); name the data set with --dataset")
    raise UserError("the run's tasks do not say which published data set they are from; name it with --dataset")


def _place(dataset: str) -> str:
    """A file as it is found from anywhere, a name as it is."""
    return os.path.abspath(dataset) if Path(dataset).is_file() else dataset
