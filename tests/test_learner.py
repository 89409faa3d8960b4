"""The student between iterations."""

from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from rollin.errors import UserError
from rollin.learner import Learner
from rollin.recipe import StudentSettings


def test_weights_of_another_shape_are_refused(tiny_directory: Path, tmp_path: Path) -> None:
    learner = Learner(StudentSettings(model=str(tiny_directory)), tmp_path, slots=1)
    config = LlamaConfig.from_pretrained(tiny_directory, intermediate_size=64)
    LlamaForCausalLM(config).save_pretrained(learner.checkpoint(1))
    with pytest.raises(UserError, match="not of the shape that this run's student had"):
        learner.at(1)
