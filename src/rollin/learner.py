"""The student: its weights after each iteration, and the policy that acts with them."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from rollin.errors import UserError
from rollin.models import load_model, load_tokenizer
from rollin.policies.local import LocalPolicy
from rollin.policies.ragged import ATTENTION
from rollin.recipe import StudentSettings
from rollin.training.objectives import Need, Objective
from rollin.training.trainer import TrainingResult, TrainingSettings, give_back_memory, train
from rollin.training.trie import Sample, pack_groups


class Learner:
    """One model in this process that acts, learns and acts again. Checkpoints lie in `directory`/iteration-N."""

    def __init__(
        self, settings: StudentSettings, directory: Path, slots: int, teacher: torch.nn.Module | None = None
    ) -> None:
        """`teacher` is the white-box one, where there is one. Raises UserError where the model cannot be loaded."""
        self._settings = settings
        self._directory = directory
        self._teacher = teacher
        self._at = 0
        self.tokenizer = load_tokenizer(settings.model)
        self.policy = LocalPolicy(
            load_model(settings.model, ATTENTION),
            self.tokenizer,
            slots=slots,
            context_tokens=settings.context_tokens,
            precision=settings.precision,
        )

    def at(self, iteration: int) -> LocalPolicy:
        """The policy with the weights that this iteration's training left (0: before any)."""
        if iteration != self._at:
            source = str(self.checkpoint(iteration)) if iteration else self._settings.model
            weights = load_model(source, ATTENTION).state_dict()
            self.policy.model.load_state_dict(weights)
            self._moved_to(iteration)
        return self.policy

    def learn(
        self,
        iteration: int,
        groups: Sequence[Sequence[Sample]],
        settings: TrainingSettings,
        objective: Objective,
        *,
        seed: int,
        progress: Callable[[int, int, float], None],
    ) -> TrainingResult:
        """Train the last iteration's weights on each trajectory's samples, and save them as this iteration's."""
        policy = self.at(iteration - 1)
        policy.rest()
        give_back_memory()
        fitting = [[sample for sample in group if sample.tokens <= settings.max_tokens] for group in groups]
        self._at = -1  # until the training is through, the weights are nobody's
        result = train(
            policy.model,
            pack_groups(fitting, settings.max_tokens),
            settings,
            precision=self._settings.precision,
            objective=objective,
            teacher=self._teacher if Need.TEACHER in objective.needs else None,
            separate_tokens=sum(sample.tokens for group in fitting for sample in group),
            left_out=sum(map(len, groups)) - sum(map(len, fitting)),
            work_dir=self._directory / "trainer",
            seed=seed,
            progress=progress,
        )
        give_back_memory()
        self._save(iteration)
        self._moved_to(iteration)
        return result

    def stay(self, iteration: int) -> TrainingResult:
        """Save the last iteration's weights as this one's."""
        self.at(iteration - 1)
        self._save(iteration)
        self._at = iteration
        return TrainingResult(
            steps=0, loss=0.0, labels=0, label_tokens=0, packed_tokens=0, separate_tokens=0, seconds=0.0
        )

    def checkpoint(self, iteration: int) -> Path:
        """Where this iteration's weights lie."""
        return self._directory / f"iteration-{iteration}"

    def _save(self, iteration: int) -> None:
        """Whole or not at all: a checkpoint appears under its name when all of it is written."""
        place = self.checkpoint(iteration)
        partial = place.with_name(f".{place.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            self.policy.model.save_pretrained(partial)
            self.tokenizer.save_pretrained(partial)
            shutil.rmtree(place, ignore_errors=True)
            partial.rename(place)
        except OSError as error:
            raise UserError(
                f"cannot write the checkpoint {place}: {error.strerror or error}; make room and resume the run"
            ) from error

    def _moved_to(self, iteration: int) -> None:
        self._at = iteration
        with torch.inference_mode():
            self.policy.reset()
