"""`rollin serve` and `rollin label`: the gateway for agents that somebody else runs, and labels that came too late."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rollin.errors import UserError
from rollin.gateway import Gateway, Host, LabelCounts, SessionSpec, Standing
from rollin.gateway.session import UNLABELLED
from rollin.mixture import Actor, Constant, RollIn, Student, Teacher, TurnMixture
from rollin.policies.base import Policy, Sampling
from rollin.policies.pool import endpoint
from rollin.progress import Reporter
from rollin.store import DATABASE, LabelStatus, Purpose, Store, database_of

AT_ONCE = 64
"""Trajectories whose questions are held in memory together."""


@dataclass(frozen=True)
class Model:
    """A model that acts or labels: behind a URL, or a checkpoint that is run here."""

    place: str
    """A base URL, several with commas between them, or what `student.model` of a recipe may be."""
    name: str = ""
    """What the server calls it; a checkpoint needs none."""
    key_env: str = "OPENAI_API_KEY"
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=1024))

    def policy(self, actor: Actor) -> Policy:
        """Ready to be asked. UserError where it doesn't answer or can't be loaded."""
        if not self.place.startswith(("http://", "https://")):
            return _loaded(self.place, actor)
        if not self.name:
            raise UserError(f"what does {self.place} call its model? Say so with --{actor}-model")
        urls = self.place.split(",")
        return endpoint(urls if len(urls) > 1 else urls[0], self.name, api_key_env=self.key_env)


def _loaded(place: str, actor: Actor) -> Policy:
    from rollin.models import load_model, load_tokenizer
    from rollin.policies.local import LocalPolicy
    from rollin.policies.ragged import ATTENTION

    model = load_model(place, ATTENTION)
    context = model.config.max_position_embeddings
    return LocalPolicy(model, load_tokenizer(place), name=str(actor), context_tokens=context, precision="auto")


def _key(variable: str) -> str:
    """The user's own, where a script has to know it beforehand; else a new one."""
    return os.environ.get(variable, "").strip() or secrets.token_urlsafe(24)


def mixture(text: str) -> RollIn:
    """Who acts: `student`, `teacher`, or `beta=0.5`, the share of turns that are the teacher's. UserError."""
    if text in ("student", "teacher"):
        return Student() if text == "student" else Teacher()
    found = re.fullmatch(r"beta=(0(?:\.\d+)?|\.\d+|1(?:\.0+)?)", text)
    if not found:
        raise UserError(f"the mixture {text!r} is none: say student, teacher, or beta=0.5 (from 0 to 1)")
    return TurnMixture(beta=Constant(value=float(found[1])))


@dataclass(frozen=True)
class Server:
    """A gateway that is up."""

    gateway: Gateway
    key: str
    plain_key: str
    store: Store

    def directions(self, directory: Path) -> list[str]:
        """How to use it, line by line."""
        root, header = self.gateway.url.removesuffix("/v1"), f"-H 'Authorization: Bearer {self.key}'"
        return [
            f"recording into {directory}; stop with Ctrl-C",
            "an agent that can set only a base URL and a key:",
            f"  export OPENAI_BASE_URL={self.gateway.url} OPENAI_API_KEY={self.plain_key}",
            "one that knows its tasks opens a session for each, whose key it uses, and ends it:",
            f"""  curl {root}/sessions {header} -d '{{"task": "NAME"}}'""",
            f"""  curl {root}/sessions/NUMBER/end {header} -d '{{"resolved": true}}'""",
        ]

    def status(self) -> str:
        """One line: turns so far, by whom, and how their labels stand."""
        turns, by_teacher = self.store.turn_counts()
        labels = self.gateway.label_counts
        asked = f"{labels.pending} labels under way, {labels.invalid} of no use, {labels.missing} missing"
        return f"{self.gateway.open_sessions} sessions open, {turns} turns, {by_teacher} by the teacher, {asked}"


@contextmanager
def serving(
    student: Model, teacher: Model | None, roll_in: RollIn, directory: Path, *, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Server]:
    """A gateway over these models that records into `directory`; one that holds turns already is gone on with.

    Raises UserError before it is up where something can't be had.
    """
    models = {Actor.STUDENT: student, **({Actor.TEACHER: teacher} if teacher else {})}
    if teacher is None and not isinstance(roll_in, Student):
        raise UserError("a mixture needs a teacher: name one with --teacher, or let the student act alone")
    policies = {actor: model.policy(actor) for actor, model in models.items()}
    sampling = {actor: model.sampling for actor, model in models.items()}
    path = directory / DATABASE
    settings = {"name": "serve", "student": student.place, "teacher": teacher.place if teacher else None}
    with Store.resume(path) if path.exists() else Store.create(path, settings) as store:
        keys = _key("ROLLIN_KEY"), _key("ROLLIN_PLAIN_KEY")
        standing = Standing(Host(store, roll_in, policies, policies.get(Actor.TEACHER), sampling), *keys)
        with Gateway(store, host=host, port=port, standing=standing) as gateway:
            try:
                yield Server(gateway, *keys, store)
            finally:
                for policy in policies.values():
                    gateway.run(policy.close())


def fill_in(directory: Path, teacher: Model, reporter: Reporter) -> dict[LabelStatus, int]:
    """Ask for the labels that a run's collected turns have not got. How many stand how afterwards. UserError."""
    path = database_of(directory)
    policy = teacher.policy(Actor.TEACHER)
    with Store.resume(path) as store, Gateway(store) as gateway:
        rows, sampling = store.trajectories(purpose=Purpose.COLLECT), {Actor.TEACHER: teacher.sampling}
        iterations = {row.iteration for row in rows}
        before = [store.label_counts(iteration) for iteration in iterations]
        with reporter.phase("labelling", sum(count[status] for count in before for status in UNLABELLED)) as bar:
            asked = done = 0

            def tell(counts: LabelCounts) -> None:
                nonlocal done
                bar.advance(asked - counts.pending - done, note=f"{counts.invalid} of no use, {counts.missing} missing")
                done = asked - counts.pending

            for start in range(0, len(rows), AT_ONCE):
                for row in rows[start : start + AT_ONCE]:
                    task = store.task(row.instance_id)
                    asked += gateway.ask_for_missing_labels(SessionSpec(row, task, Teacher(), {}, policy, sampling))
                gateway.await_labels(tell)
        gateway.run(policy.close())
        counts = [store.label_counts(iteration) for iteration in iterations]
        return {status: sum(count[status] for count in counts) for status in LabelStatus}
