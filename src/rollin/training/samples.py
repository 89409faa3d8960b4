"""From turns to training samples: a state's tokens and its label's, trajectory by trajectory, as the method says."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from statistics import mean, stdev
from typing import Protocol

from transformers import PreTrainedTokenizerBase

from rollin.chat import action_ids, state_ids
from rollin.method import Method
from rollin.mixture import Actor
from rollin.store import LabelStatus, Purpose, Store, TrajectoryRow, TurnRow
from rollin.training.objectives import Need
from rollin.training.trie import Sample, pack_groups

SPREAD = 1e-4
"""Added to a group's standard deviation, as in GRPO's implementations."""


def training_samples(
    store: Store, iterations: Sequence[int], tokenizer: PreTrainedTokenizerBase, method: Method
) -> list[list[Sample]]:
    """The data set of these iterations: for each trajectory that is kept its labelled states, first turn first."""
    groups = []
    for iteration in iterations:
        weights = weights_of(store.trajectories(iteration=iteration, purpose=Purpose.COLLECT), method, max(iterations))
        for trajectory, turns in groupby(store.collected_turns(iteration), key=lambda turn: turn.trajectory_id):
            if weight := weights.get(trajectory):
                samples = (_sample(store, turn, tokenizer, method, weight) for turn in turns if _learnt(turn, method))
                groups.append([sample for sample in samples if sample])
    return [group for group in groups if group]


def _learnt(turn: TurnRow, method: Method) -> bool:
    """Whether a turn is one of those that the method learns from."""
    if method.turns == "all":
        return True
    return turn.actor is Actor.STUDENT and not (method.turns == "corrected" and turn.sound)


def fitting(groups: Sequence[list[Sample]], longest: int) -> list[list[Sample]]:
    """Those that are no longer than so many tokens."""
    kept = ([sample for sample in group if sample.tokens <= longest] for group in groups)
    return [group for group in kept if group]


def within(groups: Sequence[list[Sample]], labels: int | None, seed: int) -> list[list[Sample]]:
    """At most so many labels: whole trajectories in an order drawn once, and of the last one its first turns."""
    if labels is None:
        return [*groups]
    drawn = random.Random(f"budget {seed}").sample(groups, len(groups))
    kept = []
    for group in drawn:
        kept.append(group[:labels])
        labels -= len(kept[-1])
    return [group for group in kept if group]


def affordable(groups: Sequence[list[Sample]], tokens: int | None, seed: int, longest: int) -> list[list[Sample]]:
    """Whole trajectories, in the same order drawn once, for as long as they take so many tokens at most when packed
    into tries of `longest` tokens."""
    if tokens is None:
        return [*groups]
    kept = []
    for group in random.Random(f"budget {seed}").sample(groups, len(groups)):
        tokens -= sum(map(len, pack_groups([group], longest)))
        if tokens < 0:
            break
        kept.append(group)
    return kept


class Scorer(Protocol):
    """Tells the teacher's log-probabilities."""

    def score(self, sequences: Sequence[tuple[list[int], int]]) -> list[list[float]]:
        """Of the tokens of each sequence from the given place on."""
        ...


def scored(groups: Sequence[list[Sample]], scorer: Scorer) -> list[list[Sample]]:
    """The samples with the teacher's log-probability of each label token."""
    found = iter(scorer.score([(s.state + s.label, len(s.state)) for group in groups for s in group]))
    return [[replace(sample, teacher=next(found)) for sample in group] for group in groups]


def weights_of(rows: Sequence[TrajectoryRow], method: Method, learning: int) -> dict[int, float]:
    """By trajectory, what its labels weigh in the iteration that learns; none for one that is not learnt from."""
    kept = [row for row in rows if method.keep == "all" or row.resolved]
    base = advantages(kept) if Need.OUTCOMES in method.objective.needs else {row.id: 1.0 for row in kept}
    aggregate = method.aggregate
    return {
        row.id: base[row.id] * aggregate.weight(learning - row.iteration)
        for row in kept
        if row.id in base and row.draw(0).share(learning) < aggregate.share(learning - row.iteration)
    }


def advantages(rows: Iterable[TrajectoryRow]) -> dict[int, float]:
    """By trajectory, how much better it ended than the other attempts at its task: (r - mean) / standard deviation.

    r is 1 for a resolved task, else 0. What the infrastructure ended is in no group, a group of one says nothing, and
    nor does one whose attempts all ended alike.
    """
    groups = defaultdict[tuple[int, str], list[TrajectoryRow]](list)
    for row in rows:
        if row.resolved is not None:
            groups[row.iteration, row.instance_id].append(row)
    found = dict[int, float]()
    for group in groups.values():
        outcomes = [float(bool(row.resolved)) for row in group]
        if len({*outcomes}) == 2:
            middle, spread = mean(outcomes), stdev(outcomes) + SPREAD
            found |= {row.id: (outcome - middle) / spread for row, outcome in zip(group, outcomes, strict=True)}
    return found


def executed(store: Store, turn: TurnRow, tokenizer: PreTrainedTokenizerBase, weight: float = 1.0) -> Sample:
    """A turn's state and the action that was executed there, with the tokens that the student sampled, where it acted
    and they are known: another's tokens may be of another tokenizer."""
    action, state = turn.action, state_ids(tokenizer, store.state_messages(turn.state_id))
    if turn.actor is Actor.STUDENT and action.token_ids:
        return Sample(state, action.token_ids, weight, action.logprobs)
    return Sample(state, action_ids(tokenizer, action.content, action.tool_calls), weight)


def _sample(
    store: Store, turn: TurnRow, tokenizer: PreTrainedTokenizerBase, method: Method, weight: float
) -> Sample | None:
    """A turn's state and label; None where it has no label, or nothing is known of it that the objective needs, or
    the teacher acted and its action can't be learnt from."""
    if method.label == "executed":
        if turn.actor is Actor.TEACHER and not turn.action.teaches(store.state_messages(turn.state_id)):
            return None
        sample = executed(store, turn, tokenizer, weight)
        unknown = Need.BEHAVIOUR in method.objective.needs and not sample.behaviour
        return None if unknown else _weighted(sample, method)
    if turn.label.status is not LabelStatus.READY or turn.label.text is None:
        return None
    state = state_ids(tokenizer, store.state_messages(turn.state_id))
    label = action_ids(tokenizer, turn.label.text, turn.label.tool_calls)
    return _weighted(Sample(state, label, weight), method)


def _weighted(sample: Sample, method: Method) -> Sample:
    """Where labels count alike, their tokens share the weight."""
    return sample.shared() if method.objective.per_label else sample
