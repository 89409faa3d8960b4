"""From labelled turns to training samples: a state's tokens and its label's, trajectory by trajectory."""

from collections.abc import Iterable
from itertools import groupby

from transformers import PreTrainedTokenizerBase

from rollin.chat import action_ids, state_ids
from rollin.store import Store
from rollin.training.trie import Sample


def labelled_samples(store: Store, iterations: Iterable[int], tokenizer: PreTrainedTokenizerBase) -> list[list[Sample]]:
    """The aggregated data set: for each trajectory of these iterations its labelled states, first turn first."""
    turns = [turn for iteration in iterations for turn in store.labelled_turns(iteration)]
    return [
        [
            Sample(state_ids(tokenizer, store.state_messages(turn.state_id)), action_ids(tokenizer, turn.label.text))
            for turn in trajectory
            if turn.label.text is not None
        ]
        for _, trajectory in groupby(turns, key=lambda turn: turn.trajectory_id)
    ]
