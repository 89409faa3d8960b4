"""How labels become a loss: a sum over label tokens, which the trainer divides by the number of tokens or of labels.

Need             what an objective may have to know
Targets          the label tokens of a trie, and what is known of each
CrossEntropy     -w log p: imitation (SFT, DAgger, AggreVaTe)
PolicyGradient   -min(r A, clip(r) A): reinforcement learning from outcomes (GRPO)
ReverseKL        KL(student || teacher): on-policy distillation (OPD)

In the paper's lens (arXiv 2605.12913) all are a weight on log p: 1, the outcome's advantage A, or the teacher's
log-probability minus the student's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:  # recipes are read without it
    import torch


class Need(StrEnum):
    """What an objective may have to know."""

    BEHAVIOUR = "behaviour"
    """The label's log-probabilities under the policy that sampled it."""
    TEACHER = "teacher"
    """The teacher's own distribution at the label: a white-box teacher."""
    OUTCOMES = "outcomes"
    """How other attempts at the same task ended."""


@dataclass(frozen=True)
class Targets:
    """m label tokens. Log-probabilities are natural logarithms, NaN where nobody knows them."""

    token: torch.Tensor
    """[m] the token to predict."""
    weight: torch.Tensor
    """[m] 1, or the advantage of the trajectory."""
    behaviour: torch.Tensor
    """[m] its log-probability under the policy that sampled it, when it did."""
    teacher: torch.Tensor
    """[m] its log-probability under the teacher."""


class Objective(Protocol):
    """Targets and the student's logits in, a loss out."""

    @property
    def per_label(self) -> bool:
        """Whether each label counts alike (a mean over labels of means over their tokens), not each token."""
        ...

    @property
    def needs(self) -> frozenset[Need]:
        """What has to be known of a label."""
        ...

    def sampled_at(self, temperature: float) -> Objective:
        """The objective for actions that were sampled at this temperature."""
        ...

    def loss(self, logits: torch.Tensor, targets: Targets, teacher_logits: torch.Tensor | None = None) -> torch.Tensor:
        """A scalar, in nats. `logits` and `teacher_logits` [m, vocabulary] are those that predict the targets."""
        ...


class _Objective(BaseModel):
    """A mean over tokens that needs nothing but the labels, unless one says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def per_label(self) -> bool:
        return False

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset()

    def sampled_at(self, temperature: float) -> Self:
        return self


class CrossEntropy(_Objective):
    """The sum of `weight * -log p(token | state, earlier label tokens)`: the paper's loss (The algorithm, step 4)."""

    kind: Literal["cross_entropy"] = "cross_entropy"

    def loss(self, logits: torch.Tensor, targets: Targets, teacher_logits: torch.Tensor | None = None) -> torch.Tensor:
        return -(targets.weight * _log_p(logits, targets.token)).sum()


class PolicyGradient(_Objective):
    """PPO's clipped surrogate with the outcome's advantage as weight, as in GRPO (arXiv 2402.03300).

    DAPO (arXiv 2503.14476) is `clip_high: 0.28, average: tokens`.
    """

    kind: Literal["policy_gradient"] = "policy_gradient"
    clip_low: float = Field(default=0.2, gt=0, lt=1)
    """The ratio of the student's probability now to that at sampling counts no further below 1 than this."""
    clip_high: float = Field(default=0.2, gt=0)
    """And no further above 1."""
    average: Literal["labels", "tokens"] = "labels"
    """GRPO's mean over actions of means over tokens, or DAPO's over all tokens."""
    temperature: float | None = Field(default=None, gt=0)
    """The policy is the one that sampled: its logits were divided by this. Left out, it is student.sampling's."""

    @property
    def per_label(self) -> bool:
        return self.average == "labels"

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.BEHAVIOUR, Need.OUTCOMES})

    def sampled_at(self, temperature: float) -> Self:
        return self if self.temperature else self.model_copy(update={"temperature": temperature})

    def loss(self, logits: torch.Tensor, targets: Targets, teacher_logits: torch.Tensor | None = None) -> torch.Tensor:
        log_p = _log_p(logits / (self.temperature or 1.0), targets.token)
        return _surrogate(log_p, targets.behaviour, targets.weight, self.clip_low, self.clip_high)


class ReverseKL(_Objective):
    """KL(student || teacher) at the label's tokens, for a teacher that shares the tokenizer."""

    kind: Literal["reverse_kl"] = "reverse_kl"
    estimate: Literal["sampled", "exact"] = "sampled"
    """From the sampled tokens' log-probabilities alone, or over the whole vocabulary, where the teacher is local."""

    @property
    def needs(self) -> frozenset[Need]:
        return frozenset({Need.TEACHER} if self.estimate == "exact" else {Need.TEACHER, Need.BEHAVIOUR})

    def loss(self, logits: torch.Tensor, targets: Targets, teacher_logits: torch.Tensor | None = None) -> torch.Tensor:
        if self.estimate == "exact":
            assert teacher_logits is not None, "the exact estimate needs the teacher's logits"
            student, teacher = (each.float().log_softmax(-1) for each in (logits, teacher_logits))
            apart = (student.exp() * (student - teacher)).sum(-1)
            return (targets.weight * apart).sum()
        log_q = targets.teacher if teacher_logits is None else _log_p(teacher_logits, targets.token)
        log_p = _log_p(logits, targets.token)
        # Its log-probability of now, not of sampling: the gradient is that of the KL now, however the token was drawn.
        advantage = targets.weight * (log_q - log_p.detach())
        return _surrogate(log_p, targets.behaviour, advantage)


AnyObjective = Annotated[CrossEntropy | PolicyGradient | ReverseKL, Field(discriminator="kind")]
"""An objective as a recipe writes it."""


def _log_p(logits: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """[m] log-probabilities of the tokens."""
    return logits.float().log_softmax(-1).gather(1, token[:, None])[:, 0]


def _surrogate(
    log_p: torch.Tensor,
    behaviour: torch.Tensor,
    advantage: torch.Tensor,
    low: float = 1.0,
    high: float = float("inf"),
) -> torch.Tensor:
    """The sum of `-min(ratio * advantage, clip(ratio) * advantage)`; its gradient is `-ratio * advantage * d log p`
    where nothing is clipped."""
    ratio = (log_p - behaviour).exp()
    return -(ratio * advantage).minimum(ratio.clamp(1 - low, 1 + high) * advantage).sum()
