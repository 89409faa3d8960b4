"""A GGUF is converted once, whole or not at all."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from rollin.converted import _each_read_once, as_checkpoint
from rollin.errors import UserError
from rollin.files import whole_folder
from rollin.models import PACKAGED, load_model, load_tokenizer, locate

LOAD = f"from rollin.models import load_model; load_model({PACKAGED!r})"


def packaged() -> Path:
    folder, file = locate(PACKAGED)
    return Path(folder) / str(file)


@pytest.mark.slow
def test_two_processes_convert_what_transformers_reads(tmp_path: Path) -> None:
    environment = {**os.environ, "ROLLIN_CACHE": str(tmp_path)}
    both = [subprocess.Popen([sys.executable, "-c", LOAD], env=environment) for _ in range(2)]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    assert [path.suffix for path in (tmp_path / "models").iterdir() if path.is_file()] == [".lock"]
    (checkpoint,) = (path for path in (tmp_path / "models").iterdir() if path.is_dir())
    with _each_read_once():
        model = AutoModelForCausalLM.from_pretrained(
            packaged().parent, gguf_file=packaged().name, dtype=torch.float32
        ).state_dict()
        tokenizer = AutoTokenizer.from_pretrained(packaged().parent, gguf_file=packaged().name)
    converted = load_model(str(checkpoint)).state_dict()
    assert converted.keys() == model.keys()
    assert all(torch.equal(converted[name], model[name]) for name in model)
    chat = [{"role": "system", "content": "Repair  it."}, {"role": "user", "content": "x = '\u00e9'\n\tprint(x)"}]
    assert load_tokenizer(str(checkpoint)).apply_chat_template(chat) == tokenizer.apply_chat_template(chat)
    assert load_tokenizer(str(checkpoint)).get_vocab() == tokenizer.get_vocab()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROLLIN_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"cannot write .*; make room, or set ROLLIN_CACHE"):
        as_checkpoint(packaged())


def test_a_checkpoint_without_room_leaves_the_one_before(tmp_path: Path, tiny_directory: Path) -> None:
    """safetensors' error for a full disk is no OSError."""
    model, place = load_model(str(tiny_directory)), tmp_path / "iteration-1"
    place.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with (
            pytest.raises(UserError, match=r"cannot write the checkpoint .*iteration-1 \(.*\); make room"),
            whole_folder(place, "the checkpoint", "make room") as folder,
        ):
            model.save_pretrained(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == [place]
