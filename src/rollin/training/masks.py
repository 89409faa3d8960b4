"""What the tokens of a packed trie may see, said as the attention at hand wants it.

For most tries that is a matrix that is added to the scores. For a long one it is gigabytes (65,536 tokens: 8 GiB in
bfloat16), and most of it hides: on a GPU FlexAttention (arXiv 2412.05496) then gets the rule itself and a map of the
blocks of tokens in which nothing is hidden, some of it, or all, which it leaves out. Its kernels are compiled when they
are first needed, some 10 seconds long.
"""

import torch
from torch.nn.attention.flex_attention import BlockMask
from transformers import PretrainedConfig

from rollin.training.trie import sees

BLOCK = 128
"""Tokens of a block in each direction, as FlexAttention's kernels have them."""

LONG = 12_288
"""Tokens from which on it pays to leave blocks out (benchmarks/long_tries.py)."""

NARROWEST = 16
"""Numbers in a query of one head, at least."""

Mask = torch.Tensor | BlockMask


def mask(end: torch.Tensor, dtype: torch.dtype, config: PretrainedConfig) -> Mask:
    """For a trie whose nodes' descendants reach to `end` [n], on its device, in a model of this shape."""
    return blocks(end) if in_blocks(len(end), config, on_gpu=not end.is_cpu) else matrix(end, dtype)


def in_blocks(tokens: int, config: PretrainedConfig, *, on_gpu: bool) -> bool:
    """Whether blocks are for such a trie. FlexAttention knows no dropout, and no narrow heads."""
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    has_kernel = size >= NARROWEST and not getattr(config, "attention_dropout", 0.0)
    return on_gpu and tokens >= LONG and has_kernel


def matrix(end: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """[1, 1, n, n]: 0 where row j may see column i, else the lowest number of the dtype."""
    hidden = torch.zeros(1, 1, len(end), len(end), dtype=dtype, device=end.device)
    return hidden.masked_fill_(~sees(end), torch.finfo(dtype).min)


def blocks(end: torch.Tensor) -> BlockMask:
    """The same in blocks, worked out from the blocks' first and last tokens and the descendants that reach least and
    furthest: an n-by-n matrix never exists."""
    tokens = len(end)
    count = -(-tokens // BLOCK)
    room = count * BLOCK - tokens
    first = torch.arange(count, device=end.device) * BLOCK
    last = (first + BLOCK - 1).clamp(max=tokens - 1)
    padded = torch.nn.functional.pad(end, (0, room))
    furthest = padded.view(count, BLOCK).amax(1)
    nearest = torch.nn.functional.pad(end, (0, room), value=tokens).view(count, BLOCK).amin(1)
    # Rows are blocks that look, columns are blocks that are looked at. A column's token that reaches the row's first
    # token is seen by it; where all reach its last one, every token of the row sees every token of the column.
    some = (first[None, :] <= last[:, None]) & (furthest[None, :] > first[:, None])
    whole = (last[None, :] <= first[:, None]) & (nearest[None, :] > last[:, None])

    def seen(batch: torch.Tensor, head: torch.Tensor, row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
        return (column <= row) & (row < padded[column])

    partly = _listed(some & ~whole)
    return BlockMask.from_kv_blocks(*partly, *_listed(whole), BLOCK, mask_mod=seen, seq_lengths=(tokens, tokens))


def _listed(chosen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(how many of each row are chosen [1, 1, rows], their columns before all others [1, 1, rows, columns])."""
    numbers = chosen.sum(1, dtype=torch.int32)
    columns = chosen.to(torch.int8).argsort(dim=1, descending=True, stable=True).to(torch.int32)
    return numbers[None, None], columns[None, None]
