"""The container engine: Docker's command line, or a program that takes the same words (podman).

Engine     runs the program, and fetches images
Controls   which limits the engine can enforce here
"""

import json
import logging
import os
import shlex
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from rollin.errors import ImageUnavailable, InfrastructureFault, UserError
from rollin.sandboxes.base import Limits

log = logging.getLogger(__name__)

VARIABLE = "ROLLIN_DOCKER"
"""The environment variable that names another program, such as `podman`."""
PULL_SECONDS = 3600.0
ANSWER_SECONDS = 120.0
"""What any other call may take: a machine that starts many containers at once is slow."""


@dataclass(frozen=True)
class Controls:
    """Which limits the engine can enforce here. Those need control groups, which a container or a user may lack."""

    version: str
    """Of the engine."""
    groups: str
    """The control groups' version: `1`, `2`, or "" where there are none."""
    memory: bool
    processes: bool
    cpus: bool

    @property
    def missing(self) -> list[str]:
        """The limits that don't hold."""
        held = {"memory": self.memory, "number of processes": self.processes, "CPU time": self.cpus}
        return [name for name, holds in held.items() if not holds]

    def flags(self, limits: Limits) -> list[str]:
        """`limits` as words for `docker run`, as far as they can be enforced."""
        words = list[str]()
        if self.memory:  # as much with swap: none
            words += ["--memory", f"{limits.memory_mb}m", "--memory-swap", f"{limits.memory_mb}m"]
        if self.processes:
            words += ["--pids-limit", str(limits.processes)]
        if self.cpus:
            words += ["--cpus", str(min(limits.cpus, os.cpu_count() or 1))]
        return words


class Engine:
    """A program that takes Docker's words. One for the whole process: an image is fetched once."""

    def __init__(self, words: Sequence[str]) -> None:
        """UserError, with the cure, where the program is missing or its daemon doesn't answer."""
        self.words = tuple(words)
        self.name = os.path.basename(self.words[0])
        self._lock = threading.Lock()
        self._present = set[str]()
        self._unavailable = dict[str, str]()
        self.controls = self._controls()
        if self.controls.missing:
            log.warning("%s enforces no limit of %s here", self.name, ", ".join(self.controls.missing))

    def call(self, *arguments: str, seconds: float = ANSWER_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run the program to its end. InfrastructureFault if it doesn't come to one."""
        try:
            return subprocess.run(
                [*self.words, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                errors="replace",
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise InfrastructureFault(f"{self.name} {arguments[0]} took more than {seconds:.0f} s") from error

    def fetch(self, image: str) -> None:
        """See to it that an image is here; pulled at most once. ImageUnavailable where it can't be had."""
        with self._lock:
            if image in self._present:
                return
            if image not in self._unavailable and self.call("image", "inspect", image).returncode != 0:
                self._pull(image)
            if words := self._unavailable.get(image):
                raise ImageUnavailable(f"the image {image} can't be had: {words}")
            self._present.add(image)

    def _pull(self, image: str) -> None:
        log.info("pulling %s", image)
        outcome = self.call("pull", image, seconds=PULL_SECONDS)
        if outcome.returncode == 0:
            log.info("pulled %s", image)
        else:
            self._unavailable[image] = _last_line(outcome.stderr) or f"{self.name} pull failed"

    def _controls(self) -> Controls:
        try:
            outcome = self.call("info", "--format", "{{json .}}")
        except OSError as error:
            raise UserError(
                f"containers need {self.name}, which can't be run ({error.strerror}): install Docker, or podman and set"
                f" {VARIABLE}=podman"
            ) from error
        try:
            told = json.loads(outcome.stdout)
        except ValueError:
            told = {}
        if outcome.returncode != 0 or told.get("ServerErrors") or not told:
            words = _last_line(outcome.stderr) or "; ".join(told.get("ServerErrors") or []) or "no answer"
            raise UserError(
                f"{self.name} does not answer ({words}): start its daemon, allow this user to use it, or set"
                f" {VARIABLE}=podman"
            )
        return _podmans(told) if "host" in told else _dockers(told)


def _dockers(told: dict[str, object]) -> Controls:
    return Controls(
        version=str(told.get("ServerVersion", "")),
        groups=str(told.get("CgroupVersion", "")),
        memory=bool(told.get("MemoryLimit")),
        processes=bool(told.get("PidsLimit")),
        cpus=bool(told.get("CpuCfsQuota")),
    )


def _podmans(told: dict[str, dict[str, object]]) -> Controls:
    host, controllers = told["host"], told["host"].get("cgroupControllers")
    found = controllers if isinstance(controllers, list) else []
    return Controls(
        version=str(told.get("version", {}).get("Version", "")),
        groups=str(host.get("cgroupVersion", "")).removeprefix("v"),
        memory="memory" in found,
        processes="pids" in found,
        cpus="cpu" in found,
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def engine() -> Engine:
    """The engine that the environment names; found once."""
    return _engine(os.environ.get(VARIABLE) or "docker")


@cache
def _engine(words: str) -> Engine:
    return Engine(shlex.split(words))
