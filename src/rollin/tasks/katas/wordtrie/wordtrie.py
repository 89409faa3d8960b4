"""A trie of words for completing what somebody types."""

import json
import re
from pathlib import Path


def _walk(node, letters, grow=False):
    """Follow letters down from a node, adding the missing nodes if it may grow."""
    for letter in letters:
        node = node.setdefault(letter, {}) if grow else node.get(letter, {})
    return node


class WordTrie:
    """Words in nested dictionaries, one level for each letter."""

    def __init__(self, text=""):
        source = Path(__file__).with_name("settings.json")
        self.settings = json.loads(source.read_text(encoding="utf-8"))
        self.mark = self.settings["end_mark"]
        self.tree = {}
        self.learn(text)

    def learn(self, text):
        """Add every word of a text and return how many words it has."""
        tree, mark = self.tree, self.mark
        words = re.findall(self.settings["pattern"], text.lower())
        for word in words:
            _walk(tree, word, grow=True)[mark] = word
        return len(words)

    def knows(self, word):
        """Tell whether a word was learnt."""
        return self.mark in _walk(self.tree, word)

    def words(self, prefix=""):
        """Return all learnt words with a prefix, by name."""
        node = _walk(self.tree, prefix)
        found = [node[self.mark]] if self.mark in node else []
        for letter in sorted(node.keys() - {self.mark}):
            found += self.words(prefix=prefix + letter)
        return found

    def complete(self, prefix):
        """Return the first few words that complete a prefix."""
        return self.words(prefix=prefix)[: self.settings["max_results"]]
