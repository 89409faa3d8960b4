"""Many training samples in one forward pass, each token computed once.

The states of a trajectory are prefixes of each other, and a label is a branch off its state. As token sequences,
the samples (state + label) of a trajectory form a trie; so do those of several trajectories, which share their
system prompt. Laid out depth first, a node's descendants are the nodes right after it, up to its `end`:

      0 1 2 3 ── 4 5          state of turn 0 = 0..3, its label = 4 5
            └─── 6 7 8 ── 9   state of turn 1 = 0..3 6 7 8, its label = 9

so node j may attend to node i exactly if  i <= j < end[i],  and its position is its depth. Then loss and gradient
equal those of separate samples (tested), for the cost of the distinct tokens alone. Sharing is found by comparing
token ids, never assumed: a chat template that rewrites history merely shares less.

Sample       a state and its label, as tokens
Trie         tokens in depth-first order, with what attention, positions and the loss need
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import torch

LEAST_SAVED = 0.25
"""Share of the nodes that joining has to save: attention takes more of one long trie than of two half as long."""


@dataclass(frozen=True)
class Sample:
    """One labelled state. The loss is on the label's tokens alone."""

    state: list[int]
    label: list[int]
    weight: float = 1.0
    behaviour: list[float] | None = None
    """Log-probabilities of the label's tokens under the policy that sampled them."""
    teacher: list[float] | None = None
    """The same under the teacher."""

    @property
    def tokens(self) -> int:
        """What the sample would cost alone."""
        return len(self.state) + len(self.label)

    def shared(self) -> "Sample":
        """Its weight shared out among its label's tokens."""
        return replace(self, weight=self.weight / len(self.label))


@dataclass(frozen=True)
class Trie:
    """Samples as one packed sequence of n nodes with m targets."""

    ids: np.ndarray
    """[n] tokens, depth first."""
    depth: np.ndarray
    """[n] position of each token in its own sequence."""
    end: np.ndarray
    """[n] one past the last descendant of each node."""
    source: np.ndarray
    """[m] the node whose logits predict a target."""
    target: np.ndarray
    """[m] the label token to predict."""
    weight: np.ndarray
    """[m] its weight in the loss."""
    behaviour: np.ndarray
    """[m] its log-probability under the policy that sampled it; NaN where unknown."""
    teacher: np.ndarray
    """[m] and under the teacher."""
    labels: int
    """Labels packed."""

    def __len__(self) -> int:
        return len(self.ids)


def sees(end: torch.Tensor) -> torch.Tensor:
    """[n, n] boolean: row j may attend to column i, whose descendants reach to `end[i]`."""
    node = torch.arange(len(end), device=end.device)
    return (node[None, :] <= node[:, None]) & (node[:, None] < end[None, :])


class _Target(NamedTuple):
    """A label token, and what is known of it."""

    token: int
    weight: float
    behaviour: float
    teacher: float


@dataclass
class _Node:
    token: int
    children: dict[int, "_Node"] = field(default_factory=dict)
    targets: list[_Target] = field(default_factory=list)
    """Label tokens predicted from here."""


def pack(samples: Sequence[Sample]) -> Trie:
    """The trie of the samples. Raises ValueError for an empty state: its label would have nothing to follow."""
    root = _Node(token=-1)
    for sample in samples:
        if not sample.state:
            raise ValueError("a sample needs a state of at least one token")
        node = root
        for token in sample.state:
            node = _child(node, token)
        for target in _targets(sample):
            node.targets.append(target)
            node = _child(node, target.token)
    return _layout(root, len(samples))


def _targets(sample: Sample) -> Iterator[_Target]:
    unknown = [math.nan] * len(sample.label)
    known = zip(sample.label, sample.behaviour or unknown, sample.teacher or unknown, strict=True)
    return (_Target(token, sample.weight, behaviour, teacher) for token, behaviour, teacher in known)


def _child(node: _Node, token: int) -> _Node:
    return node.children.setdefault(token, _Node(token))


def joined(tries: Sequence[Trie], max_tokens: int) -> list[Trie]:
    """Neighbours as one trie where that pays and has at most `max_tokens` nodes: what they begin with alike is in it
    once. Its loss is the sum of theirs, and so is its gradient."""
    together = [*tries[:1]]
    for trie in tries[1:]:
        both = _join(together[-1], trie)
        if len(both) <= min(max_tokens, (1 - LEAST_SAVED) * (len(together[-1]) + len(trie))):
            together[-1] = both
        else:
            together.append(trie)
    return together


def _join(first: Trie, second: Trie) -> Trie:
    root = _Node(token=-1)
    for trie in (first, second):
        nodes, path = list[_Node](), [root]
        for token, level in zip(trie.ids.tolist(), trie.depth.tolist(), strict=True):
            del path[level + 1 :]
            path.append(_child(path[level], token))
            nodes.append(path[-1])
        known = (trie.target, trie.weight, trie.behaviour, trie.teacher)
        for place, *target in zip(trie.source.tolist(), *(each.tolist() for each in known), strict=True):
            nodes[place].targets.append(_Target(*target))
    return _layout(root, first.labels + second.labels)


def _layout(root: _Node, labels: int) -> Trie:
    """Depth first, without recursion: a trajectory is thousands of tokens deep."""
    ids: list[int] = []
    depth: list[int] = []
    end: list[int] = []
    source: list[int] = []
    targets: list[_Target] = []
    stack: list[tuple[_Node, int, int]] = [(child, 0, -1) for child in reversed(root.children.values())]
    parents: list[int] = []
    while stack:
        node, level, parent = stack.pop()
        place = len(ids)
        ids.append(node.token)
        depth.append(level)
        parents.append(parent)
        end.append(place + 1)
        source.extend([place] * len(node.targets))
        targets.extend(node.targets)
        # A last token of a label has no children and predicts nothing; it stays, so that sharing needs no special case.
        stack.extend((child, level + 1, place) for child in reversed(node.children.values()))
    for place in range(len(ids) - 1, -1, -1):
        if parents[place] >= 0:
            end[parents[place]] = max(end[parents[place]], end[place])
    return Trie(
        ids=np.array(ids, dtype=np.int64),
        depth=np.array(depth, dtype=np.int64),
        end=np.array(end, dtype=np.int64),
        source=np.array(source, dtype=np.int64),
        target=np.array([target.token for target in targets], dtype=np.int64),
        weight=np.array([target.weight for target in targets], dtype=np.float32),
        behaviour=np.array([target.behaviour for target in targets], dtype=np.float32),
        teacher=np.array([target.teacher for target in targets], dtype=np.float32),
        labels=labels,
    )


def pack_groups(groups: Sequence[Sequence[Sample]], max_tokens: int) -> list[Trie]:
    """One trie for each group (a trajectory's samples); a group over `max_tokens` nodes is cut into several.

    Raises ValueError if a single sample alone is longer than `max_tokens`.
    """
    tries: list[Trie] = []
    for group in groups:
        tries.extend(_pack_within(group, max_tokens))
    return tries


def _pack_within(samples: Sequence[Sample], max_tokens: int) -> list[Trie]:
    trie = pack(samples)
    if len(trie) <= max_tokens or not samples:
        return [trie] if samples else []
    if len(samples) == 1:
        raise ValueError(f"a sample has {samples[0].tokens} tokens, more than the limit of {max_tokens}")
    half = len(samples) // 2
    return _pack_within(samples[:half], max_tokens) + _pack_within(samples[half:], max_tokens)
