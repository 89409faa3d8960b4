"""What a plan can't know and has to assume. Every figure names the assumptions that it was made from."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rollin.errors import UserError
from rollin.explaining import nearest
from rollin.recipe import Recipe
from rollin.tasks.sets import BuiltTasks, GymTasks


class Assumptions(BaseModel):
    """Changed by `--assume KEY=VALUE`. The defaults are ours, unless a source is named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_tokens: int = Field(default=4000, ge=1)
    """System prompt and task of a trajectory."""
    turns: float = Field(default=40, gt=0)
    """Of a trajectory, on average, where its context allows so many."""
    action_tokens: int = Field(default=150, ge=1)
    """Of an action, and of a label."""
    observation_tokens: int = Field(default=450, ge=0)
    """Of what an action brings."""
    label_share: float = Field(default=0.25, gt=0, le=1)
    """Of the longest packed trie, how much is label tokens: their logits are computed."""
    command_seconds: float = Field(default=2.0, ge=0)
    """Of one command in its sandbox."""
    resolved_share: float = Field(default=0.25, ge=0, le=1)
    """Of trajectories: how many rejection sampling keeps."""
    student_share: float = Field(default=0.5, ge=0, le=1)
    """Of turns, where the roll-in depends on what happens."""
    student_tokens_per_second: float = Field(default=2000, gt=0)
    """That the student writes, all trajectories together."""
    teacher_tokens_per_second: float = Field(default=2000, gt=0)
    """Likewise."""
    training_tflops: float = Field(default=300, gt=0)
    """That training reaches: 30% of an H100's 989 in dense bfloat16 (NVIDIA's data sheet)."""
    gpu_overhead_gib: float = Field(default=2.0, ge=0)
    """Of a GPU's memory that is never there for tensors: CUDA's context, pieces between tensors."""
    served_share: float = Field(default=0.9, gt=0, le=1)
    """Of a GPU's memory that an inference server takes (vLLM's `--gpu-memory-utilization`)."""
    library_gib: float = Field(default=0.65, ge=0)
    """What the process on a CPU holds beside models: Python, torch, transformers."""
    image_gib: float = Field(default=2.6, ge=0)
    """Of one task's container image, as if none shared layers. They do: SWE-bench Verified's 500 take 206 GiB together
    (github.com/logic-star-ai/swe-bench-compressed), 0.4 each."""
    db_bytes_per_token: float = Field(default=8.5, ge=0)
    """Of run.db: 2.13 bytes for each byte of new messages (docs/results, gateway-load), at 4 bytes a token."""
    gpu_hour_price: float = Field(default=2.5, ge=0)
    """USD for one GPU."""
    teacher_prompt_price: float = Field(default=0.0, ge=0)
    """USD for a million tokens that the teacher reads anew."""
    teacher_answer_price: float = Field(default=0.0, ge=0)
    """USD for a million tokens that it writes."""


SMALL_TASKS = {"prompt_tokens": 300, "turns": 6, "action_tokens": 60, "observation_tokens": 150, "command_seconds": 0.5}
"""Of katas and games, as the quickstart's runs have them (docs/results)."""
ON_CPU = {"student_tokens_per_second": 75, "teacher_tokens_per_second": 75, "training_tflops": 0.08}
"""SmolLM2-135M in float32 on two cores: 60 to 90 tokens/s at a batch; training, 70 tokens/s on all layers and
200 on the top ten."""


def assumed(recipe: Recipe, gpus: int, changes: list[str]) -> Assumptions:
    """For this recipe on so many GPUs (0: a CPU), with `key=value` on top. Raises UserError."""
    small = all(isinstance(each, BuiltTasks | GymTasks) for each in recipe.tasks.train)
    content: dict[str, Any] = {**(SMALL_TASKS if small else {}), **({} if gpus else ON_CPU)}
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--assume {change!r} is not of the form key=value, such as turns=60")
        if key not in Assumptions.model_fields:
            raise UserError(f"--assume {change!r}: there is no such assumption{nearest(key, Assumptions.model_fields)}")
        content[key] = value
    try:
        return Assumptions.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"--assume {first['loc'][0]}: {first['msg'][0].lower()}{first['msg'][1:]}") from error
