"""The objectives against plain implementations of their own, and against TRL's on the same tensors."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch.nn.functional import cross_entropy, log_softmax
from transformers import PreTrainedModel

from rollin.models import load_model
from rollin.policies.ragged import ATTENTION
from rollin.training.objectives import CrossEntropy, Objective, PolicyGradient, ReverseKL, Targets
from rollin.training.trainer import TrieTrainer, as_inputs, trie_loss
from rollin.training.trie import Sample, pack

VOCABULARY = 50
TOLERANCE = 1e-5
OBJECTIVES: list[Objective] = [
    CrossEntropy(),
    PolicyGradient(),
    PolicyGradient(clip_high=0.28, average="tokens", temperature=0.7),
    ReverseKL(),
    ReverseKL(estimate="exact"),
]


def targets(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, Targets]:
    """(student's logits, teacher's logits, targets) of a student that moved a little since it sampled."""
    chance = torch.Generator().manual_seed(seed)
    logits, teacher = (torch.randn(count, VOCABULARY, generator=chance, dtype=torch.float64) for _ in range(2))
    token = torch.randint(VOCABULARY, (count,), generator=chance)
    moved = 0.3 * torch.randn(count, generator=chance, dtype=torch.float64)
    log_p, log_q = (log_softmax(each, -1).gather(1, token[:, None])[:, 0] for each in (logits, teacher))
    weight = torch.randn(count, generator=chance, dtype=torch.float64)
    return logits, teacher, Targets(token, weight, log_p + moved, log_q)


@pytest.mark.parametrize("average", ["labels", "tokens"])
def test_policy_gradient_is_grpo_as_trl_computes_it(average: str) -> None:
    """4 completions of 1 to 4 tokens; TRL pads them, we don't."""
    trainer_of_trl = pytest.importorskip("trl.trainer.grpo_trainer").GRPOTrainer
    lengths, advantage = [4, 1, 3, 2], torch.tensor([1.2, -0.4, 0.0, -0.8])
    flat, _, known = targets(sum(lengths), 0)
    logits = flat.float().requires_grad_(True)
    objective = PolicyGradient(average=average, clip_high=0.28)  # type: ignore[arg-type]
    weight = torch.cat(
        [(a / n if objective.per_label else a).repeat(n) for a, n in zip(advantage, lengths, strict=True)]
    )
    ours = objective.loss(logits, replace(known, weight=weight, behaviour=known.behaviour.float()))
    ours = ours / (len(lengths) if objective.per_label else sum(lengths))

    def padded(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(list(values.split(lengths)), batch_first=True)

    mask = padded(torch.ones(sum(lengths)))
    log_p = padded(log_softmax(logits, -1).gather(1, known.token[:, None])[:, 0])
    stub = SimpleNamespace(
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None, beta=0.0, epsilon_low=0.2,
        epsilon_high=0.28, importance_sampling_level="token", use_vllm=False, _entropy_bonus_enabled=False,
        loss_type="grpo" if objective.per_label else "dapo", current_gradient_accumulation_steps=1,
        args=SimpleNamespace(delta=None, steps_per_generation=1), model=SimpleNamespace(training=True),
        accelerator=Accelerator(cpu=True),
        _get_per_token_logps_and_entropies=lambda *a, **k: (log_p, torch.zeros_like(log_p), None),
        _metrics=_Metrics(),
    )  # fmt: skip
    theirs = trainer_of_trl._compute_loss(
        stub,
        None,
        {
            "prompt_ids": torch.zeros(4, 1), "prompt_mask": torch.ones(4, 1), "completion_ids": mask,
            "completion_mask": mask, "advantages": advantage, "num_items_in_batch": mask.sum(),
            "old_per_token_logps": padded(known.behaviour.float()),
        },
    )  # fmt: skip
    assert_same(ours, theirs, logits)


class _Metrics(dict[str, Any]):
    """TRL's log of a step, which is of no interest here."""

    def __missing__(self, key: str) -> Any:
        return _Metrics() if key in ("train", "eval") else []


def test_exact_reverse_kl_is_that_of_trl() -> None:
    jsd = pytest.importorskip("trl.experimental.gkd.gkd_trainer").GKDTrainer.generalized_jsd_loss
    flat, teacher, known = targets(7, 1)
    logits = flat.requires_grad_(True)
    plain = replace(known, weight=torch.ones(7))
    ours = ReverseKL(estimate="exact").loss(logits, plain, teacher) / 7
    theirs = jsd(logits[None].float(), teacher[None].float(), labels=known.token[None], beta=1.0)
    assert_same(ours, theirs, logits)


def assert_same(ours: torch.Tensor, theirs: torch.Tensor, logits: torch.Tensor) -> None:
    """Value and gradient."""
    assert ours.item() == pytest.approx(theirs.item(), rel=TOLERANCE, abs=TOLERANCE)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (ours, theirs))
    assert second.norm() > 0
    assert (first - second).norm() <= TOLERANCE * second.norm()


def test_the_sampled_reverse_kl_has_the_gradient_of_the_exact_one_on_average() -> None:
    """Over every token that might have been sampled, each with the probability that it had: whatever sampled it."""
    logits, teacher, _ = targets(1, 2)
    logits.requires_grad_(True)
    behaviour = log_softmax(logits.detach() / 0.7, -1)[0]  # sampled at another temperature
    every = torch.arange(VOCABULARY)
    known = Targets(every, behaviour.exp(), behaviour, log_softmax(teacher, -1)[0])
    sampled = ReverseKL().loss(logits.expand(VOCABULARY, -1), known)
    exact = ReverseKL(estimate="exact").loss(logits, replace(known, weight=torch.ones(1)), teacher)
    first, second = (torch.autograd.grad(loss, logits, retain_graph=True)[0] for loss in (sampled, exact))
    assert (first - second).norm() <= TOLERANCE * second.norm()


def test_a_ratio_that_went_too_far_pulls_no_further() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    for advantage, moved, pulls in ((1.0, 0.5, False), (1.0, -0.5, True), (-1.0, -0.5, False), (-1.0, 0.5, True)):
        log_p = log_softmax(logits.detach(), -1)[0, 0]
        known = Targets(torch.tensor([0]), torch.tensor([advantage]), (log_p - moved)[None], torch.tensor([0.0]))
        (gradient,) = torch.autograd.grad(PolicyGradient().loss(logits, known), logits)
        assert bool(gradient.norm() > 0) == pulls


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
def test_through_the_trie_as_on_separate_samples(tiny_directory: Path, objective: Objective) -> None:
    model, teacher = load_model(str(tiny_directory), ATTENTION), load_model(str(tiny_directory), ATTENTION)
    with torch.no_grad():
        for parameter in teacher.parameters():
            moved = 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter.add_(moved.to(parameter.device))
    samples = trajectory(5)
    local = teacher if objective == ReverseKL(estimate="exact") else None
    packed = trie_loss(model, as_inputs(pack(samples), model.device), objective, local)
    apart = torch.stack([plainly(objective, model, teacher, sample) for sample in samples]).sum()
    assert packed.item() == pytest.approx(apart.item(), rel=TOLERANCE)
    parameters = [*model.parameters()]
    for first, second in zip(*(torch.autograd.grad(loss, parameters) for loss in (packed, apart)), strict=True):
        assert (first - second).norm() <= 1e-4 * second.norm() + 1e-7


def trajectory(turns: int) -> list[Sample]:
    """States that grow from each other; every other label is what was executed."""
    chance = torch.Generator().manual_seed(0)

    def some(count: int) -> list[int]:
        return torch.randint(3, 1000, (count,), generator=chance).tolist()

    state, samples = some(9), []
    for turn in range(turns):
        label = some(3 + turn)
        log_p, log_q = (-7 + 0.5 * torch.randn(2, len(label), generator=chance)).tolist()
        samples.append(Sample(state, label, weight=1.0 - 0.7 * turn, behaviour=log_p, teacher=log_q))
        state = state + (label if turn % 2 else some(4)) + some(5)
    return samples


def plainly(objective: Objective, model: PreTrainedModel, teacher: PreTrainedModel, sample: Sample) -> torch.Tensor:
    """The formulas, one sample and one token at a time."""
    ids = torch.tensor([sample.state + sample.label], device=model.device)
    student, taught = (each(ids).logits[0, len(sample.state) - 1 : -1].cpu() for each in (model, teacher))
    total = torch.zeros(())
    for place, token in enumerate(sample.label):
        p, q = log_softmax(student[place], -1), log_softmax(taught[place].detach(), -1)
        assert sample.behaviour is not None
        assert sample.teacher is not None
        if isinstance(objective, CrossEntropy):
            total = total + sample.weight * cross_entropy(student[place], torch.tensor(token))
        elif isinstance(objective, PolicyGradient):
            ratio = (
                log_softmax(student[place] / (objective.temperature or 1), -1)[token] - sample.behaviour[place]
            ).exp()
            clipped = min(max(ratio, torch.tensor(1 - objective.clip_low)), torch.tensor(1 + objective.clip_high))
            total = total - min(ratio * sample.weight, clipped * sample.weight)
        elif objective == ReverseKL(estimate="exact"):
            total = total + sample.weight * (p.exp() * (p - q)).sum()
        else:
            ratio = (p[token] - sample.behaviour[place]).exp()
            total = total - ratio * sample.weight * (sample.teacher[place] - p[token].item())
    return total


@pytest.mark.parametrize("objective", [CrossEntropy(), PolicyGradient()], ids=str)
def test_a_step_divides_by_all_its_tokens_or_labels(tiny_directory: Path, tmp_path: Path, objective: Objective) -> None:
    """A step of two tries of unequal size is one mean over both, not a mean of their means."""
    model = load_model(str(tiny_directory), ATTENTION)
    batches = [as_inputs(pack(trajectory(turns)), model.device) for turns in (1, 4)]
    trainer = TrieTrainer(objective, None, torch.float32, model=model, args=arguments(tmp_path), train_dataset=[])
    count = trainer._get_num_items_in_batch([{"tries": batches}], model.device)
    assert count == (5 if objective.per_label else 3 + 3 + 4 + 5 + 6)
    total = sum(trainer.compute_loss(model, batch, num_items_in_batch=count) for batch in batches)
    assert total.item() == pytest.approx(sum(trie_loss(model, b, objective).item() for b in batches) / int(count))


def arguments(directory: Path) -> Any:
    from transformers import TrainingArguments

    return TrainingArguments(output_dir=str(directory), report_to=[])
