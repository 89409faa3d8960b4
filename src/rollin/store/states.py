"""Conversations as a trie: a state is its parent plus one message, a message is stored once.

Turn t's conversation extends turn t-1's by two messages, so a trajectory of n turns costs O(n) rows instead of
O(n^2). A state's key is a hash chain over its messages; the deepest known prefix is found from the end, usually at
the third look.
"""

import json
import sqlite3
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import accumulate
from typing import Self

from rollin.messages import Message

EMPTY = b""
"""The key of the empty conversation, state 0."""


def message_hash(message: Message) -> bytes:
    """16 bytes that name a message's content."""
    parts = [message["role"], message.get("name", ""), message["content"]]
    if called := _calls(message):
        parts.append(called)
    text = "\0".join([*parts, message["tool_call_id"]] if "tool_call_id" in message else parts)
    return _digest(text.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class State:
    """A conversation, and the keys of its prefixes, the empty one's first: 16 bytes that name each."""

    messages: list[Message] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=lambda: [EMPTY])

    @property
    def key(self) -> bytes:
        """The whole conversation's."""
        return self.keys[-1]

    @classmethod
    def of(cls, messages: list[Message]) -> Self:
        return cls().then(messages)

    def then(self, messages: list[Message]) -> Self:
        """Another conversation. Where it goes on with this one only what is new is hashed: to compare 100 kB takes a
        hundredth of the time."""
        known = self if messages[: len(self.messages)] == self.messages else type(self)()
        hashes = map(message_hash, messages[len(known.messages) :])
        new = accumulate(hashes, lambda key, digest: _digest(key + digest), initial=known.key)
        return type(self)(messages, [*known.keys[:-1], *new])


def state_key(messages: list[Message]) -> bytes:
    """16 bytes that name a conversation."""
    return State.of(messages).key


def insert_state(db: sqlite3.Connection, state: State) -> int:
    """The id of a conversation's state. Inserts what is new; the caller holds the transaction."""
    number, depth = _deepest_known(db, state.keys)
    for message, key in zip(state.messages[depth:], state.keys[depth + 1 :], strict=True):
        depth += 1
        insertion = "INSERT INTO states (key, parent_id, message_id, depth) VALUES (?, ?, ?, ?) RETURNING id"
        number = int(db.execute(insertion, (key, number, _insert_message(db, message), depth)).fetchone()[0])
    return number


def state_messages(db: sqlite3.Connection, state_id: int) -> list[Message]:
    """The conversation of a state, first message first."""
    rows = db.execute(
        """WITH RECURSIVE path (parent_id, message_id, depth) AS (
               SELECT parent_id, message_id, depth FROM states WHERE id = ?
               UNION ALL
               SELECT s.parent_id, s.message_id, s.depth FROM states s JOIN path p ON s.id = p.parent_id)
           SELECT m.role, m.content, m.name, m.tool_calls, m.tool_call_id
           FROM path JOIN messages m ON m.id = path.message_id ORDER BY path.depth""",
        (state_id,),
    )
    return [_message(*row) for row in rows]


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _deepest_known(db: sqlite3.Connection, keys: list[bytes]) -> tuple[int, int]:
    for depth in range(len(keys) - 1, 0, -1):
        found = db.execute("SELECT id FROM states WHERE key = ?", (keys[depth],)).fetchone()
        if found:
            return int(found[0]), depth
    return 0, 0


def _insert_message(db: sqlite3.Connection, message: Message) -> int:
    digest = message_hash(message)
    found = db.execute("SELECT id FROM messages WHERE hash = ?", (digest,)).fetchone()
    if found is None:
        columns = "hash, role, name, content, tool_calls, tool_call_id"
        insertion = f"INSERT INTO messages ({columns}) VALUES (?, ?, ?, ?, ?, ?) RETURNING id"
        said = (message["role"], message.get("name"), message["content"])
        found = db.execute(insertion, (digest, *said, _calls(message), message.get("tool_call_id"))).fetchone()
    return int(found[0])


def _calls(message: Message) -> str | None:
    return json.dumps(message["tool_calls"]) if message.get("tool_calls") else None


def _message(role: str, content: str, name: str | None, calls: str | None, answers: str | None) -> Message:
    message: Message = {"role": role, "content": content}
    if name is not None:
        message["name"] = name
    if calls is not None:
        message["tool_calls"] = json.loads(calls)
    if answers is not None:
        message["tool_call_id"] = answers
    return message
