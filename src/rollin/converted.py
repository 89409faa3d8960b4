"""A GGUF file's model and tokenizer as a transformers checkpoint, kept in the cache folder.

transformers reads a GGUF by itself, but takes half a minute for SmolLM2-135M: it parses the file for the configuration,
the tokenizer and the weights, each time anew. A checkpoint takes a second, and can be saved again.
"""

import copy
import functools
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gguf
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from rollin.files import locked, whole_folder
from rollin.tasks.cache import cache_folder


def as_checkpoint(file: Path) -> Path:
    """The checkpoint's directory: float32 weights, tokenizer, chat template. Made when first asked for, whole or not at
    all. Raises UserError where it cannot be written, and transformers' or gguf's own errors for a damaged file."""
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    place = cache_folder() / "models" / digest[:24]
    cure = "make room, or set ROLLIN_CACHE to a folder that can be written"
    with locked(place.with_name(f"{place.name}.lock"), cure):
        if not place.exists():
            with _each_read_once():
                tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
                model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
            with whole_folder(place, f"{file.name} as the checkpoint", cure) as folder:
                _unquantised(model).save_pretrained(folder)
                tokenizer.save_pretrained(folder)
    return place


def _unquantised(model: PreTrainedModel) -> PreTrainedModel:
    """The weights in a fresh, plain model: one from a GGUF refuses `save_pretrained`."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict(), strict=False)
    plain.tie_weights()
    if model.generation_config is not None:
        plain.generation_config = copy.deepcopy(model.generation_config)
    return plain


@contextmanager
def _each_read_once() -> Iterator[None]:
    """transformers parses the whole file four times, and makes the table of tensor names anew for each module. Both are
    kept here for as long as one file is converted: 10 seconds instead of 27."""
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader = functools.lru_cache(reader)
    gguf.get_tensor_name_map = functools.lru_cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
