"""A model's shape without its weights: from a directory, a GGUF, a file, a built-in description, or the hub.

Described    a model's configuration, and where it was found
Size         what follows from it: parameters, bytes of a token's keys and values
"""

import copy
import json
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from rollin.errors import UserError
from rollin.models import check_attention, locate
from rollin.policies.ragged import ATTENTION


@dataclass(frozen=True)
class Described:
    """A model's shape."""

    name: str
    config: PretrainedConfig
    source: str
    """Where the description was found, for people."""

    def skeleton(self, attention: str = ATTENTION) -> PreTrainedModel:
        """The model in float32, on the device that is torch's default. UserError for no language model, and for one
        that rollin can't run."""
        check_attention(self.config, self.name)
        config = copy.deepcopy(self.config)  # a model writes its own dtype into it
        try:
            model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)  # type: ignore[no-untyped-call]
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, ArithmeticError) as error:
            raise UserError(
                f"model {self.name}: its description makes no language model ({_said(error)}); give its config.json"
            ) from error
        assert isinstance(model, PreTrainedModel)
        return model

    @cached_property
    def size(self) -> "Size":
        """Counted on torch's meta device, where a tensor has a shape and no memory. UserError as of `skeleton`."""
        with torch.device("meta"):
            return Size.of(self.skeleton())


@dataclass(frozen=True)
class Size:
    """What follows from a model's shape."""

    parameters: int
    """Shared ones count once."""
    active: int
    """Those that a token goes through: of a mixture of experts, the share of experts that are asked."""
    inner: int
    """Of these, all but embedding and output."""
    linear: int
    """Those of linear layers, the output's included where it is one of its own."""
    output: int
    """Those of the output, shared with the embedding or not."""
    layers: int
    attended: int
    """Width of all query heads together."""
    cached_values: int
    """Numbers that a token leaves in the cache of keys and values, in all layers: 2 x layers x key/value heads x size
    of a head."""
    positions: int | None
    """The longest sequence that the model was made for."""

    @classmethod
    def of(cls, model: PreTrainedModel) -> "Size":
        config = model.config
        heads = config.num_attention_heads
        head = getattr(config, "head_dim", None) or config.hidden_size // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        experts = sum(weight.numel() for name, weight in model.named_parameters() if ".experts." in name)
        asked = getattr(config, "num_experts_per_tok", 1) / (getattr(config, "num_experts", None) or 1)
        parameters = sum(weight.numel() for weight in model.parameters())
        active = parameters - int(experts * (1 - asked)) if experts else parameters
        embedding = model.get_input_embeddings().weight
        output = model.get_output_embeddings().weight  # type: ignore[no-untyped-call]
        assert isinstance(embedding, torch.Tensor) and isinstance(output, torch.Tensor)  # noqa: PT018 - no test
        return cls(
            parameters=parameters,
            active=active,
            inner=active - embedding.numel() - (output.numel() if output is not embedding else 0),
            linear=sum(module.weight.numel() for module in model.modules() if isinstance(module, torch.nn.Linear)),
            output=output.numel(),
            layers=config.num_hidden_layers,
            attended=heads * head,
            cached_values=2 * config.num_hidden_layers * key_heads * head,
            positions=getattr(config, "max_position_embeddings", None),
        )


def describe(spec: str, given: Path | None = None) -> Described:
    """The shape of what `student.model` of a recipe may name. `given` is a config.json to take instead. UserError."""
    if given is not None:
        return Described(spec, _from_file(given), f"{given}")
    builtin = files("rollin.planning") / "descriptions" / f"{spec.removeprefix('Qwen/')}.json"
    if spec.startswith("Qwen/") and builtin.is_file():
        return Described(spec, _config(json.loads(builtin.read_text()), spec), "rollin's built-in description")
    place, gguf = locate(spec)
    try:
        if gguf:
            return Described(spec, AutoConfig.from_pretrained(place, gguf_file=gguf), "its GGUF")
        config = AutoConfig.from_pretrained(place)
    except Exception as error:  # the hub, its client and transformers each raise their own kinds
        raise UserError(
            f"model {spec}: its description can't be had (no hub within reach, or no such model); give its config.json"
            " with --student-config or --teacher-config"
        ) from error
    return Described(spec, config, "its directory" if Path(place).is_dir() else "the hub")


def _from_file(path: Path) -> PretrainedConfig:
    path = path / "config.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the model description {path} is not readable JSON; give a config.json") from error
    if not isinstance(content, dict):
        raise UserError(f"the model description {path} is no JSON object; give a config.json")
    return _config(content, str(path))


def _config(content: dict[str, object], origin: str) -> PretrainedConfig:
    kind = content.get("model_type")
    if kind not in CONFIG_MAPPING:
        raise UserError(f"{origin}: transformers knows no model of the type {kind!r}; update it")
    try:
        return AutoConfig.for_model(**content)  # type: ignore[arg-type]
    except Exception as error:  # each type of model checks itself in its own way
        raise UserError(f"{origin}: it describes no {kind} model ({_said(error)}); mend it") from error


def _said(error: Exception) -> str:
    """In one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:200] or type(error).__name__
