"""A run's settings: read from YAML, changed by `key=value`, validated before anything starts."""

import math
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator, model_validator

from rollin.errors import UserError
from rollin.explaining import explain, nearest
from rollin.harnesses.command import CommandSettings
from rollin.harnesses.gym import GymSettings
from rollin.harnesses.mini_swe_agent import MiniSweAgentSettings
from rollin.harnesses.own import OwnSettings
from rollin.layers import Loader, on_top, read_settings
from rollin.method import METHODS, Method
from rollin.mixture import Teacher
from rollin.policies.base import Sampling
from rollin.policies.engines import EngineName
from rollin.sandboxes.base import Limits
from rollin.store import Spent
from rollin.tasks.sets import TaskSettings
from rollin.training.objectives import AnyObjective, Need
from rollin.training.settings import Precision, TrainingSettings


class Settings(BaseModel):
    """Settings don't change during a run, and an unknown one is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Served(Settings):
    """A server at which the student acts, while this process trains it. Each iteration's weights are loaded there; it
    has to see the run's directory under the same path."""

    engine: EngineName
    """What serves it; vLLM wants VLLM_SERVER_DEV_MODE=1 to load weights."""
    base_url: str | Annotated[list[str], Field(min_length=1)]
    """Or several of the same."""
    model: str
    """What the server calls it."""
    api_key_env: str = "STUDENT_API_KEY"
    """The environment variable that holds the server's key, if it wants one."""


class StudentSettings(Settings):
    """The model that learns."""

    model: str = "smollm2-135m"
    """A transformers directory, a GGUF file, a hub name, or `smollm2-135m` (comes with the installation)."""
    context_tokens: int = Field(default=4096, ge=256)
    sampling: Sampling = Sampling(temperature=0.7, top_p=0.9)
    """While collecting. Evaluation is greedy."""
    precision: Precision = "auto"
    """In which numbers matrices are multiplied, acting and training: `auto` is bfloat16 where the processor or GPU has
    instructions for it, else float32. Weights are float32 in any case."""
    served: Served | None = None
    """Let it act at a server of vLLM or SGLang instead of in this process."""


class ExpertTeacher(Settings):
    """The scripted teacher, which knows the task's reference patch. It gives commands in code blocks, or by a tool that
    takes them if its agent offers one."""

    kind: Literal["expert"] = "expert"


class EndpointTeacher(Settings):
    """A teacher behind any OpenAI-compatible URL."""

    kind: Literal["endpoint"]
    base_url: str | Annotated[list[str], Field(min_length=1)]
    """Or several, behind which the same model is: trajectories are spread over them, and leave one that fails."""
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key. Keys are never written into a recipe."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    """Of each server, at most; more wait for their turn."""
    engine: EngineName | None = None
    """Of a server of vLLM or SGLang, tokens' log-probabilities can be had: reverse KL wants them."""
    sampling: Sampling = Sampling(max_tokens=1024)
    extra: dict[str, Any] = {}
    """More for the body of each request, by the API's names (`reasoning_effort: low`). `null` takes a field out that a
    server refuses (`seed: null`)."""


class LocalTeacher(Settings):
    """A teacher that is a transformers model in this process."""

    kind: Literal["local"]
    model: str
    context_tokens: int = Field(default=4096, ge=256)
    sampling: Sampling = Sampling()
    precision: Precision = "auto"
    """As the student's."""


class FunctionTeacher(Settings):
    """A teacher that is a function of one's own: from a conversation and a task to what to say."""

    kind: Literal["function"]
    function: str
    """`package.module:name`, or `path/to/file.py:name`."""


class OwnTeacher(Settings):
    """A teacher of one's own that may take its time, and close what it opened."""

    kind: Literal["own"]
    make: str
    """The class or function that makes a `Policy` (policies/base.py): `package.module:name`, or
    `path/to/file.py:name`."""
    settings: dict[str, Any] = {}
    """What it is called with, by name."""


TeacherSettings = Annotated[
    ExpertTeacher | EndpointTeacher | LocalTeacher | FunctionTeacher | OwnTeacher, Field(discriminator="kind")
]


HarnessSettings = Annotated[
    MiniSweAgentSettings | CommandSettings | GymSettings | OwnSettings, Field(discriminator="kind")
]


class EvaluationSettings(Settings):
    """When the student is measured, alone and greedy, on the eval tasks."""

    when: Literal["ends", "every_iteration"] = "ends"
    """`ends`: before the first iteration and after the last."""
    base: bool | int = True
    """Measure the student before any training, too: on all eval tasks, or on the first so many of each group."""
    labels: bool = False
    """Ask the teacher beside, to know how often the student does what it would do in the states that are reached.
    Nothing is learnt from these labels."""

    @field_validator("base", mode="before")
    @classmethod
    def _base(cls, base: Any) -> Any:
        if not isinstance(base, int) or base < 0:
            raise ValueError(f"{base!r} is neither true or false nor how many tasks of each group")
        return base


class Budget(Settings):
    """What a run may use at most, so that methods can be compared at equal cost. Each iteration gets an even share of
    turns and tokens, and what earlier ones left."""

    labels: int | None = Field(default=None, ge=1)
    """Labels that an iteration trains on, of all that are aggregated; drawn trajectory by trajectory."""
    turns: int | None = Field(default=None, ge=1, lt=2**63)
    """Turns collected in the environment. Trajectories are begun, `concurrency` at a time, until they are used up."""
    teacher_tokens: int | None = Field(default=None, ge=1, lt=2**63)
    """Tokens that the teacher writes, acting and labelling; counted likewise."""
    training_tokens: int | None = Field(default=None, ge=1, lt=2**63)
    """Tokens that go through the student in training, of all epochs; whole trajectories are drawn that fit."""

    @property
    def may_leave_nothing(self) -> bool:
        """Whether an iteration may find its share spent by earlier ones."""
        return any(limit is not None for limit in (self.turns, self.teacher_tokens, self.training_tokens))

    def used_up(self, spent: Spent, iteration: int, iterations: int) -> bool:
        """Whether an iteration has collected its share, if everything collected so far cost that much."""
        limits = ((self.turns, spent.turns), (self.teacher_tokens, spent.teacher_tokens))
        return any(limit is not None and used >= limit * iteration / iterations for limit, used in limits)


class Recipe(Settings):
    """All of a run. `docs/recipes.md` goes through it."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0, lt=2**32)
    method: Method = METHODS["dagger"]
    iterations: int = Field(default=5, ge=1)
    tasks_per_iteration: PositiveInt | Annotated[list[PositiveInt], Field(min_length=1)]
    """Training tasks attempted in each iteration; of a list, the first number is for iteration 1, the last repeats."""
    concurrency: int = Field(default=16, ge=1)
    """Trajectories under way at once."""
    student: StudentSettings = StudentSettings()
    teacher: TeacherSettings = ExpertTeacher()
    tasks: TaskSettings
    harness: HarnessSettings = MiniSweAgentSettings()
    sandbox: Limits = Limits()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    budget: Budget = Budget()
    demonstrations: Path | None = None
    """Another run, whose trajectories are learnt from in every iteration, too: those that the student began with, lest
    it forget them; `aggregate.shares` counts them as an iteration before the first. For methods that aggregate all
    iterations; the others learn from the last one alone."""
    arms: dict[str, dict[str, Any]] = {}
    """For `rollin compare`: by method, what its runs have otherwise than the others."""

    @field_validator("method", mode="before")
    @classmethod
    def _row(cls, method: Any) -> Any:
        """A row's name alone, or with what is changed in it."""
        method = _named(method)
        if not isinstance(method, dict):
            return method
        name = method.get("name", "dagger")
        if name not in METHODS:
            raise ValueError(f"{name!r} is no method{nearest(str(name), METHODS)}")
        return on_top(method, METHODS[name].model_dump(mode="json"))

    @field_validator("harness", mode="before")
    @classmethod
    def _kind(cls, harness: Any) -> Any:
        """mini-swe-agent, where no kind is named."""
        return {"kind": "mini_swe_agent"} | harness if isinstance(harness, dict) else harness

    @model_validator(mode="after")
    def _possible(self) -> "Recipe":
        """Whether the method can have what its objective needs."""
        method = self.method
        if Need.TEACHER in method.objective.needs and not self._white_box:
            raise ValueError(
                f"the objective {method.objective.kind} needs the log-probabilities of a teacher of kind 'local' (or,"
                " estimated from samples, of an endpoint with an engine), and this one is of kind"
                f" {self.teacher.kind!r}; name another teacher or another method"
            )
        if Need.OUTCOMES in method.objective.needs and method.attempts < 2:
            kind = method.objective.kind
            raise ValueError(f"the objective {kind} compares attempts at a task; set method.attempts to 2 or more")
        if Need.OUTCOMES in method.objective.needs and method.keep == "resolved":
            kind = method.objective.kind
            raise ValueError(f"the objective {kind} learns from what sets attempts apart; set method.keep to 'all'")
        of_student = Need.BEHAVIOUR in method.objective.needs or method.turns != "all"
        if of_student and isinstance(method.roll_in, Teacher):
            raise ValueError(
                "the method learns from the student's turns, and the teacher takes all; name another method.roll_in"
            )
        if Need.BEHAVIOUR in method.objective.needs and method.label != "executed":
            raise ValueError(
                f"the objective {method.objective.kind} learns from what was executed; set method.label to 'executed'"
            )
        if Need.BEHAVIOUR in method.objective.needs and not self.student.sampling.temperature:
            raise ValueError(f"the objective {method.objective.kind} needs chance; set student.sampling.temperature")
        return self

    @property
    def _white_box(self) -> bool:
        """Whether the teacher gives the log-probabilities that the objective wants."""
        if self.teacher.kind == "endpoint":
            sampled = Need.BEHAVIOUR in self.method.objective.needs  # of the sampled tokens alone
            return self.teacher.engine is not None and sampled
        return self.teacher.kind == "local"

    def tasks_in(self, iteration: int) -> int:
        """How many training tasks are attempted in an iteration (1 is the first)."""
        sizes = self.tasks_per_iteration
        return sizes if isinstance(sizes, int) else sizes[min(iteration, len(sizes)) - 1]

    @property
    def objective(self) -> AnyObjective:
        """The method's, for actions sampled as the student's are."""
        return self.method.objective.sampled_at(self.student.sampling.temperature or 1.0)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of a YAML file, and of what it builds on, with `key.sub=value` applied. UserError in one sentence."""
    content = read_settings(path)
    for override in overrides:
        content["method"] = _named(content.get("method", "dagger"))  # so that `method.keep=all` finds its group
        _apply(content, override)
    return parse_recipe(content, str(path))


PLACES = {"base_url", "api_key_env", "requests_per_minute"}
"""Settings that say where something is: they may change while a run goes on."""


def moved(recipe: Recipe, changes: Sequence[str]) -> Recipe:
    """A run's recipe with other places. UserError for a change of anything else: the run would be two in one."""
    content = recipe.model_dump(mode="json")
    for change in changes:
        key = change.partition("=")[0]
        if key.rpartition(".")[2] not in PLACES:
            raise UserError(
                f"{key} can't change in a run that has begun (only {', '.join(sorted(PLACES))} can); start another run"
            )
        _apply(content, change)
    return parse_recipe(content, "the changed recipe")


def placeless(recipe: Recipe, only: Set[str] | None = None, free: Set[str] = frozenset()) -> dict[str, Any]:
    """A recipe's settings (or `only` some of them, or all but the `free` ones) without those that say where something
    is: what two runs have to share to be the same."""
    dumped = recipe.model_dump(include=None if only is None else {*only}, exclude={*free})
    settings: dict[str, Any] = _without_places(dumped)
    return settings


def _without_places(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_places(inner) for name, inner in content.items() if name not in PLACES}
    return content


def _named(method: Any) -> Any:
    """The short form of a method, its name alone, in the long one."""
    return {"name": method} if isinstance(method, str) else method


def parse_recipe(content: dict[str, Any], origin: str) -> Recipe:
    """Validate settings; `origin` is named in the UserError."""
    try:
        recipe = Recipe.model_validate(content)
        endless = next((place for place, number in _numbers(content) if not math.isfinite(number)), None)
    except ValidationError as error:
        raise UserError(f"{origin}: {explain(error, Recipe)}") from error
    except RecursionError as error:  # YAML can say so
        raise UserError(f"{origin}: a setting holds itself; write it out") from error
    if endless:
        raise UserError(f"{origin}: setting {endless!r}: input should be a finite number")
    return recipe


def _apply(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UserError(f"{override!r} is not of the form key=value, such as training.learning_rate=1e-4")
    *path, last = key.split(".")
    place: Any = content
    for part in path:
        place = place.setdefault(part, {}) if isinstance(place, dict) else None
        if place is None:
            raise UserError(f"{override!r}: {part!r} is not a group of settings; check the key")
    if not isinstance(place, dict):
        raise UserError(f"{override!r}: {key!r} is not a setting in a group; check the key")
    place[last] = _value(text)


def _value(text: str) -> Any:
    """YAML's reading of a value, with 1e-4 as the number people mean (YAML 1.1 wants 1.0e-4)."""
    try:
        value = yaml.load(text, Loader)
    except yaml.constructor.ConstructorError as error:
        raise UserError(f"{text!r}: {error.problem}; write it once") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # the second is a date that there is none of
        raise UserError(f"{text[:80]!r} is not a YAML value; quote it or mend it") from error
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _numbers(content: object, place: str = "") -> Iterator[tuple[str, float]]:
    """(place, number) of each that has a fraction."""
    if isinstance(content, float):
        yield place, content
    for name, inner in _entries(content):
        yield from _numbers(inner, f"{place}.{name}" if place else str(name))


def _entries(content: object) -> Iterable[tuple[object, object]]:
    return content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
