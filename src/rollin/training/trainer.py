"""transformers' Trainer, fed with tries: what is ours is the packing and the objective."""

import ctypes
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.optim.lr_scheduler import LambdaLR, LRScheduler
from torch.utils.data import Dataset
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from rollin.errors import UserError
from rollin.models import multiplied_in
from rollin.training.masks import Mask, mask
from rollin.training.objectives import CrossEntropy, Objective, Targets
from rollin.training.settings import Precision, TrainingSettings
from rollin.training.trie import Trie, joined


@dataclass(frozen=True)
class TrainingResult:
    """What one iteration's training did."""

    steps: int
    loss: float
    """Mean over the label tokens of the whole phase, in nats."""
    labels: int
    """Labels trained on."""
    label_tokens: int
    packed_tokens: int
    """Tokens that went through the model in one epoch."""
    separate_tokens: int
    """Tokens that separate samples would have cost in one epoch."""
    seconds: float
    left_out: int = 0
    """Labels whose state was longer than `max_tokens`: not trained on."""


class TrieTrainer(Trainer):
    """Each item of its data set is one packed trie. Those of a step go through the model joined, as far as that is
    bounded; the loss of a step is the mean over its label tokens, or over its labels where the objective says so."""

    def __init__(self, objective: Objective, teacher: torch.nn.Module | None, dtype: torch.dtype, **rest: Any) -> None:
        super().__init__(**rest)
        self.dtype: torch.dtype = dtype
        self.objective: Objective = objective
        self.teacher: torch.nn.Module | None = teacher
        self.model_accepts_loss_kwargs = True  # `compute_loss` divides by a whole step's items, whatever the model is
        self.nodes = 0
        """That went through the model."""

    def training_step(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Gradients of a step's tries, one after another; the step's loss."""
        model.train()
        losses = []
        for trie in self._prepare_inputs(inputs)["tries"]:
            loss = self.compute_loss(model, trie, num_items_in_batch=num_items_in_batch)
            self.accelerator.backward(loss)
            self.nodes += trie["input_ids"].numel()
            losses.append(loss.detach())
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        total = trie_loss(model, inputs, self.objective, self.teacher, self.dtype)
        if num_items_in_batch is None:
            return total / self._items([{"tries": [inputs]}])
        # The gradients of several processes will be averaged, and the items are those of all.
        return total * self.accelerator.num_processes / num_items_in_batch

    def create_scheduler(self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None) -> LRScheduler:
        """transformers' schedules begin at a rate of 0, where a step learns nothing: this one begins a step further.
        (That step is among `warmup_steps`, see `_arguments`.)"""
        if self.lr_scheduler is None:
            whole = super().create_scheduler(num_training_steps + 1, optimizer)
            rate = whole.lr_lambdas[0]  # type: ignore[attr-defined]
            self.lr_scheduler = LambdaLR(whole.optimizer, lambda step: rate(step + 1))  # for all groups of weights
        return self.lr_scheduler

    def _get_num_items_in_batch(self, batch_samples: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
        items: torch.Tensor = self.accelerator.gather(self._items(batch_samples).to(device))
        return items.sum()

    def _items(self, batches: list[dict[str, Any]]) -> torch.Tensor:
        """What a step's loss is divided by."""
        tries = [trie for batch in batches for trie in batch["tries"]]
        if self.objective.per_label:
            return torch.stack([trie["label_count"] for trie in tries]).sum()
        return torch.tensor(sum(trie["labels"].numel() for trie in tries))


CROSS_ENTROPY = CrossEntropy()


def trie_loss(
    model: torch.nn.Module,
    inputs: dict[str, torch.Tensor],
    objective: Objective = CROSS_ENTROPY,
    teacher: torch.nn.Module | None = None,
    dtype: torch.dtype = torch.float32,
    hidden: Mask | None = None,
) -> torch.Tensor:
    """The objective's sum over the label tokens of one trie (a scalar, in nats).

    `teacher` is the local model whose logits the objective wants, if it wants any. `dtype` bfloat16: matrices are
    multiplied in it, while weights and their gradients stay as they are, and the loss is computed in float32. `hidden`
    says what a token sees; left out, it is made for the device (masks.py).
    """
    if hidden is None:
        hidden = mask(inputs["end"], dtype, model.config)  # type: ignore[arg-type]
    teacher_logits = None
    if teacher is not None:
        with torch.no_grad():
            teacher_logits = logits(teacher, inputs, hidden, dtype)
    targets = Targets(inputs["labels"], inputs["weight"], inputs["behaviour"], inputs["teacher"])
    return objective.loss(logits(model, inputs, hidden, dtype), targets, teacher_logits)


def logits(model: torch.nn.Module, inputs: dict[str, torch.Tensor], hidden: Mask, dtype: torch.dtype) -> torch.Tensor:
    """[label tokens, vocabulary], in float32. Logits are as large as the rest of a small model: computed where a label
    token is predicted, only; twice where two labels part."""
    with torch.autocast(inputs["source"].device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
        output = model(
            input_ids=inputs["input_ids"],
            position_ids=inputs["position_ids"],
            attention_mask=hidden,
            use_cache=False,
            logits_to_keep=inputs["source"],
            packed=True,
        )
    scores: torch.Tensor = output.logits[0]
    return scores if dtype is torch.float32 else scores.float()


def as_inputs(trie: Trie, device: torch.device | str = "cpu") -> dict[str, torch.Tensor]:
    """A trie as the model's arguments: ids and positions [1, n], ends [n]; and its targets, [m] each."""
    inputs = {
        "input_ids": torch.from_numpy(trie.ids)[None],
        "position_ids": torch.from_numpy(trie.depth)[None],
        "end": torch.from_numpy(trie.end),
        "source": torch.from_numpy(trie.source),
        "labels": torch.from_numpy(trie.target),
        "weight": torch.from_numpy(trie.weight),
        "behaviour": torch.from_numpy(trie.behaviour),
        "teacher": torch.from_numpy(trie.teacher),
        "label_count": torch.tensor(trie.labels),
    }
    return {name: tensor.to(device) for name, tensor in inputs.items()}


class _Tries(Dataset[Trie]):
    def __init__(self, tries: Sequence[Trie]) -> None:
        self.tries = tries

    def __len__(self) -> int:
        return len(self.tries)

    def __getitem__(self, index: int) -> Trie:
        return self.tries[index]


def check_layers(model: PreTrainedModel, settings: TrainingSettings) -> None:
    """UserError where more layers are to be trained than there are."""
    if settings.parameters == "top_layers" and settings.top_layers > (there := model.config.num_hidden_layers):
        raise UserError(f"training.top_layers is {settings.top_layers}, but the model has {there} layers; name fewer")


def select_parameters(model: PreTrainedModel, settings: TrainingSettings) -> PreTrainedModel | PeftModel:
    """Let the chosen weights move and no others. Raises UserError for more layers than there are."""
    model.requires_grad_(settings.parameters == "full")
    if settings.parameters == "lora":
        return get_peft_model(model, LoraConfig(r=settings.lora_rank, target_modules="all-linear"))
    if settings.parameters == "top_layers":
        decoder: Any = model.get_decoder()  # type: ignore[no-untyped-call]
        layers = decoder.layers
        check_layers(model, settings)
        for layer in layers[-settings.top_layers :]:
            layer.requires_grad_(True)
        decoder.norm.requires_grad_(True)
    return model


def train(
    model: PreTrainedModel,
    tries: Sequence[Trie],
    settings: TrainingSettings,
    *,
    precision: Precision = "float32",
    objective: Objective = CROSS_ENTROPY,
    teacher: torch.nn.Module | None = None,
    separate_tokens: int,
    left_out: int = 0,
    work_dir: Path,
    seed: int,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainingResult:
    """Train `model` in place on the tries. `progress` gets (step, steps, last loss). UserError without labels, and
    where it diverges: the weights are of no use then."""
    label_tokens = sum(len(trie.target) for trie in tries)
    if not label_tokens and left_out:
        raise UserError(
            f"all {left_out} labels are, with their states, longer than training.max_tokens, {settings.max_tokens};"
            " start another run with more"
        )
    if not label_tokens:
        raise UserError("there are no labels to train on; collect some (a teacher that answers) or check the filter")
    trained = select_parameters(model, settings)
    if settings.gradient_checkpointing:  # not by the Trainer's setting, which is about to get another name
        model.gradient_checkpointing_enable({"use_reentrant": False})  # type: ignore[no-untyped-call]
    steps = settings.steps(len(tries))
    dtype = multiplied_in(precision, trained.device)
    trainer = TrieTrainer(
        objective,
        teacher,
        dtype,
        model=trained,
        args=_arguments(settings, steps, work_dir, seed),
        train_dataset=_Tries(tries),
        data_collator=lambda items: {"tries": [as_inputs(trie) for trie in joined(items, settings.max_tokens)]},
        callbacks=[_GivesBack(), *([_Progress(progress, steps)] if progress else [])],
    )
    trainer.remove_callback(PrinterCallback)  # it prints a dictionary a step
    with freed_memory_kept(SPARING_MB if is_sparing(settings) else PLENTY_MB):
        outcome = trainer.train()
    if not math.isfinite(outcome.training_loss) or not all(weight.isfinite().all() for weight in trained.parameters()):
        raise UserError(
            f"the training diverged (loss {outcome.training_loss:.3g}): start another run with less than"
            f" training.learning_rate {settings.learning_rate:g}"
        )
    if isinstance(trained, PeftModel):
        trained.merge_and_unload()
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_disable()  # type: ignore[no-untyped-call]
    model.train(False)
    return TrainingResult(
        steps=outcome.global_step,
        loss=outcome.training_loss,
        labels=sum(trie.labels for trie in tries),
        label_tokens=label_tokens,
        packed_tokens=round(trainer.nodes / settings.epochs),
        separate_tokens=separate_tokens,
        seconds=outcome.metrics["train_runtime"],
        left_out=left_out,
    )


def _arguments(settings: TrainingSettings, steps: int, work_dir: Path, seed: int) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(work_dir),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_trajectories,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=1 + int(steps * settings.warmup_fraction),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        logging_steps=1,
        logging_nan_inf_filter=False,  # it would report a loss that is no number as 0
        save_strategy="no",
        report_to=[],
        seed=seed,
        data_seed=seed,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # of several it would share a batch out, and a trie is none
    return arguments


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""
MB = 1 << 20


def give_back_memory() -> None:
    """glibc keeps what is freed between what is not. Tensors of ever other sizes leave gigabytes of that behind: a
    training of 11 steps 1.1 GB, three iterations of recipes/cpu.yaml 5."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


PLENTY_MB, SPARING_MB = 32, 1


def is_sparing(settings: TrainingSettings) -> bool:
    """Whether a recipe trains otherwise in order to take less memory."""
    return settings.parameters == "lora" or settings.gradient_checkpointing


@contextmanager
def freed_memory_kept(mb: int = PLENTY_MB) -> Iterator[None]:
    """Within, tensors of up to so many MB are served from what was freed before; larger ones are mapped one by one.

    glibc gives the memory of those back as they are freed, and the kernel zeroes it again for the next ones: with 1 MB
    an eighth more time. With 32 MB only the logits are, but small tensors come to lie in the gaps of large ones, where
    nothing large fits any more: a tenth more memory, with LoRA a half more (benchmarks/plan_memory.py). What collects
    between tensors is given back every few steps (`_GivesBack`)."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(MMAP_THRESHOLD, mb * MB)
    libc.mallopt(TRIM_THRESHOLD, 1024 * MB)
    try:
        yield
    finally:
        libc.mallopt(MMAP_THRESHOLD, 32 * MB)  # where glibc's own rule leads
        libc.mallopt(TRIM_THRESHOLD, 64 * MB)
        give_back_memory()


class _GivesBack(TrainerCallback):
    EVERY = 8

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **rest: Any) -> None:
        if state.global_step % self.EVERY == 0:
            give_back_memory()


class _Progress(TrainerCallback):
    def __init__(self, tell: Callable[[int, int, float], None], steps: int) -> None:
        self.tell, self.steps = tell, steps

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **rest: Any
    ) -> None:
        if logs and "loss" in logs:
            self.tell(state.global_step, self.steps, float(logs["loss"]))
