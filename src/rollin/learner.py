"""The student: its weights after each iteration, and the policy that acts with them, here or at a server."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from rollin.chat import state_ids
from rollin.errors import UserError
from rollin.files import whole_folder
from rollin.models import load_model, load_tokenizer
from rollin.policies.base import Policy
from rollin.policies.endpoint import EndpointPolicy, Post
from rollin.policies.engines import engines
from rollin.policies.local import LocalPolicy
from rollin.policies.pool import Pool, endpoint
from rollin.policies.ragged import ATTENTION
from rollin.recipe import Served, StudentSettings
from rollin.training.objectives import Need, Objective
from rollin.training.settings import TrainingSettings
from rollin.training.trainer import TrainingResult, give_back_memory, train
from rollin.training.trie import Sample, pack_groups

log = logging.getLogger(__name__)


class Learner:
    """One model that acts, learns in this process and acts again. Checkpoints lie in `directory`/iteration-N."""

    def __init__(
        self, settings: StudentSettings, directory: Path, slots: int, teacher: torch.nn.Module | None = None
    ) -> None:
        """`teacher` is the white-box one, where there is one. Raises UserError where the model cannot be loaded, or the
        server that it is to act at doesn't answer."""
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
        self._remote = _Remote(settings.served) if settings.served else None

    def at(self, iteration: int) -> Policy:
        """The policy with the weights that this iteration's training left (0: before any). InfrastructureFault where a
        server doesn't take them."""
        self._move(iteration)
        if self._remote is None:
            return self.policy
        if not self.checkpoint(iteration).exists():  # 0: the server has perhaps seen another run's weights since
            self._save(iteration)
        return self._remote.at(self.checkpoint(iteration), self.tokenizer)

    def learn(
        self,
        iteration: int,
        groups: Sequence[Sequence[Sample]],
        settings: TrainingSettings,
        objective: Objective,
        *,
        left_out: int = 0,
        seed: int,
        progress: Callable[[int, int, float], None],
    ) -> TrainingResult:
        """Train the last iteration's weights on each trajectory's samples, and save them as this iteration's.
        `left_out` labels were too long to be among them."""
        self._move(iteration - 1)
        self.policy.rest()
        give_back_memory()
        self._at = -1  # until the training is through, the weights are nobody's
        result = train(
            self.policy.model,
            pack_groups(groups, settings.max_tokens),
            settings,
            precision=self._settings.precision,
            objective=objective,
            teacher=self._teacher if Need.TEACHER in objective.needs else None,
            separate_tokens=sum(sample.tokens for group in groups for sample in group),
            left_out=left_out,
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
        self._move(iteration - 1)
        self._save(iteration)
        self._at = iteration
        return TrainingResult(
            steps=0, loss=0.0, labels=0, label_tokens=0, packed_tokens=0, separate_tokens=0, seconds=0.0
        )

    def checkpoint(self, iteration: int) -> Path:
        """Where this iteration's weights lie."""
        return self._directory / f"iteration-{iteration}"

    async def close(self) -> None:
        """What acts is not asked any more."""
        await self.policy.close()
        if self._remote is not None:
            await self._remote.policy.close()

    def _move(self, iteration: int) -> None:
        """Bring the model in this process to an iteration's weights. UserError where they are of another shape."""
        if iteration == self._at:
            return
        source = str(self.checkpoint(iteration)) if iteration else self._settings.model
        weights = load_model(source, ATTENTION).state_dict()
        try:
            self.policy.model.load_state_dict(weights)
        except RuntimeError as error:
            raise UserError(
                f"model {source}: its weights are not of the shape that this run's student had; put back the model that"
                " the run began with, or start another run"
            ) from error
        self._moved_to(iteration)

    def _save(self, iteration: int) -> None:
        """Whole or not at all: a checkpoint appears under its name when all of it is written."""
        place = self.checkpoint(iteration)
        with whole_folder(place, "the checkpoint", "make room and resume the run") as folder:
            self.policy.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    def _moved_to(self, iteration: int) -> None:
        self._at = iteration
        with torch.inference_mode():
            self.policy.reset()


class _Remote:
    """The student at its server."""

    def __init__(self, served: Served) -> None:
        """UserError where it doesn't answer."""
        self._engines = engines(served.engine, served.base_url, served.model, served.api_key_env)
        self.policy = endpoint(
            served.base_url,
            served.model,
            api_key_env=served.api_key_env,
            extra={"logprobs": True, "return_token_ids": True},
            restore=self._load_again,
        )
        self._checkpoint: Path | None = None

    def at(self, checkpoint: Path, tokenizer: PreTrainedTokenizerBase) -> EndpointPolicy | Pool:
        """The policy with a checkpoint's weights. UserError where it is shown other chats than the student learns."""
        self._engines.check_chat(partial(state_ids, tokenizer), checkpoint)
        self._engines.load(checkpoint)  # each time: a server that was started anew has what it was started with
        self._checkpoint = checkpoint
        return self.policy

    async def _load_again(self, url: str, post: Post) -> None:
        if self._checkpoint is not None:
            log.warning("%s was gone; it takes the weights of %s again", url, self._checkpoint.name)
            await self._engines.load_at(url, post, self._checkpoint)
