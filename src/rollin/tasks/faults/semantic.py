"""Semantic faults: one mutation of the syntax tree that leaves sound code with another meaning.

A mutation is a function from one node to its replacements. What it gives is put into the text by position, so that
nothing but the mutated node changes. The kinds are those of mutation testing (DeMillo, Lipton and Sayward 1978) and of
SWE-smith's procedural bugs (Yang et al. 2025): slips that people make.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise, takewhile
from typing import NamedTuple, cast

import libcst as cst
from libcst.metadata import CodeRange, MetadataWrapper, PositionProvider

from rollin.tasks.faults.base import Fault, Files, Propose

MOST = 6
"""Candidates of one kind; more would cost time, and a unit seldom gives more than three tasks."""


@dataclass(frozen=True)
class Scope:
    """Where a node stands."""

    rng: random.Random
    parameters: tuple[str, ...] = ()
    """Of the innermost function, without `self`."""
    defaults: tuple[cst.BaseExpression, ...] = ()
    """The values that its parameters have where a call leaves them out."""


Mutate = Callable[[cst.CSTNode, Scope], Iterator[cst.CSTNode]]

_FLIPPED: Mapping[type[cst.BaseCompOp], cst.BaseCompOp] = {
    cst.LessThan: cst.GreaterThan(),
    cst.GreaterThan: cst.LessThan(),
    cst.LessThanEqual: cst.GreaterThanEqual(),
    cst.GreaterThanEqual: cst.LessThanEqual(),
    cst.Equal: cst.NotEqual(),
    cst.NotEqual: cst.Equal(),
    cst.In: cst.NotIn(),
    cst.NotIn: cst.In(),
    cst.Is: cst.IsNot(),
    cst.IsNot: cst.Is(),
}
_BOUNDARY: Mapping[type[cst.BaseCompOp], cst.BaseCompOp] = {
    cst.LessThan: cst.LessThanEqual(),
    cst.LessThanEqual: cst.LessThan(),
    cst.GreaterThan: cst.GreaterThanEqual(),
    cst.GreaterThanEqual: cst.GreaterThan(),
}
_OPERATORS: Mapping[type[cst.BaseBinaryOp], cst.BaseBinaryOp] = {
    cst.Add: cst.Subtract(),
    cst.Subtract: cst.Add(),
    cst.Multiply: cst.Add(),
    cst.Divide: cst.Multiply(),
    cst.FloorDivide: cst.Modulo(),
    cst.Modulo: cst.FloorDivide(),
    cst.BitAnd: cst.BitOr(),
    cst.BitOr: cst.BitAnd(),
    cst.BitXor: cst.BitOr(),
    cst.LeftShift: cst.RightShift(),
    cst.RightShift: cst.LeftShift(),
    cst.Power: cst.Multiply(),
}


def _comparison(node: cst.CSTNode, table: Mapping[type[cst.BaseCompOp], cst.BaseCompOp]) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.Comparison):
        for place, target in enumerate(node.comparisons):
            if other := table.get(type(target.operator)):
                changed = [*node.comparisons]
                changed[place] = target.with_changes(operator=other)
                yield node.with_changes(comparisons=changed)


def flipped_comparison(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`a < b` -> `a > b`, `a == b` -> `a != b`."""
    yield from _comparison(node, _FLIPPED)


def shifted_boundary(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`a < b` -> `a <= b`."""
    yield from _comparison(node, _BOUNDARY)


def off_by_one(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """A slice's end or the last argument of `range` that is one too large or too small."""
    if isinstance(node, cst.Slice):
        for side in ("lower", "upper"):
            value = getattr(node, side)
            if isinstance(value, cst.Name | cst.Integer | cst.Call):
                yield node.with_changes(**{side: _shifted(value, scope)})
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Name) and node.func.value == "range":
        last = node.args[-1]
        yield node.with_changes(args=[*node.args[:-1], last.with_changes(value=_shifted(last.value, scope))])


def _shifted(value: cst.BaseExpression, scope: Scope) -> cst.BaseExpression:
    if isinstance(value, cst.Integer) and value.value.isdigit():
        return cst.Integer(str(int(value.value) + 1))
    return cst.BinaryOperation(value, scope.rng.choice((cst.Add(), cst.Subtract())), cst.Integer("1"))


def wrong_operator(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`a + b` -> `a - b`."""
    if isinstance(node, cst.BinaryOperation) and (other := _OPERATORS.get(type(node.operator))):
        yield node.with_changes(operator=other)


def swapped_arguments(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`f(a, b)` -> `f(b, a)`."""
    if isinstance(node, cst.Call):
        for place, (left, right) in enumerate(pairwise(node.args)):
            plain = not (left.keyword or right.keyword or left.star or right.star)
            if plain and not left.value.deep_equals(right.value):
                changed = [*node.args]
                changed[place] = left.with_changes(value=right.value)
                changed[place + 1] = right.with_changes(value=left.value)
                yield node.with_changes(args=changed)


def dropped_not(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`not a` -> `a`."""
    if isinstance(node, cst.UnaryOperation) and isinstance(node.operator, cst.Not):
        yield node.expression


def swapped_and_or(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`a and b` -> `a or b`."""
    if isinstance(node, cst.BooleanOperation):
        yield node.with_changes(operator=cst.Or() if isinstance(node.operator, cst.And) else cst.And())


def wrong_constant(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`2` -> `3`, `True` -> `False`."""
    if not any(node is default for default in scope.defaults):
        yield from _other_constant(node, scope)


def wrong_default(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """`def f(a=1)` -> `def f(a=2)`."""
    if any(node is default for default in scope.defaults):
        yield from _other_constant(node, scope)
        if isinstance(node, cst.SimpleString) and len(node.value) > 2:
            yield cst.SimpleString('""')


def _other_constant(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    if isinstance(node, cst.Integer) and node.value.isdigit():
        yield cst.Integer(str(int(node.value) + scope.rng.choice((-1, 1) if node.value != "0" else (1,))))
    if isinstance(node, cst.Name) and node.value in ("True", "False"):
        yield cst.Name("False" if node.value == "True" else "True")


def wrong_variable(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """One parameter used where another belongs, as an argument, an operand or what is returned."""
    if isinstance(node, cst.Name) and node.value in scope.parameters:
        yield from (cst.Name(other) for other in scope.parameters if other != node.value)


def removed_branch(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """An `if` that is gone: from `if a: x else: y` only `y` stays, without an `else` nothing; or the `else` is gone."""
    if not isinstance(node, cst.IndentedBlock):
        return
    for place, statement in enumerate(node.body):
        if isinstance(statement, cst.If) and len(node.body) > 1 and statement.orelse is None:
            yield node.with_changes(body=[*node.body[:place], *node.body[place + 1 :]])
        elif isinstance(statement, cst.If) and isinstance(statement.orelse, cst.Else):
            shorter = statement.with_changes(orelse=None)
            yield node.with_changes(body=[*node.body[:place], shorter, *node.body[place + 1 :]])


def early_return(node: cst.CSTNode, scope: Scope) -> Iterator[cst.CSTNode]:
    """A `return` at the end of a function moved into the loop before it; `continue` turned into `break`."""
    if isinstance(node, cst.Continue):
        yield cst.Break()
    if not isinstance(node, cst.IndentedBlock):
        return
    for loop, last in pairwise(node.body):
        returns = isinstance(last, cst.SimpleStatementLine) and isinstance(last.body[0], cst.Return)
        if isinstance(loop, cst.For) and returns and isinstance(loop.body, cst.IndentedBlock):
            inner = loop.body.with_changes(body=[*loop.body.body, last.with_changes(leading_lines=[])])
            place = node.body.index(loop)
            changed = [*node.body]
            changed[place : place + 2] = [loop.with_changes(body=inner)]
            yield node.with_changes(body=changed)


_MUTATIONS: Sequence[Mutate] = (
    flipped_comparison,
    shifted_boundary,
    off_by_one,
    wrong_operator,
    swapped_arguments,
    dropped_not,
    swapped_and_or,
    wrong_constant,
    wrong_default,
    wrong_variable,
    removed_branch,
    early_return,
)


class _Place(NamedTuple):
    """A node inside a function."""

    node: cst.CSTNode
    where: CodeRange
    parameters: tuple[str, ...]
    defaults: tuple[cst.BaseExpression, ...]


class _Places(cst.CSTVisitor):
    """Collects the nodes inside functions."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self._functions: list[tuple[tuple[str, ...], tuple[cst.BaseExpression, ...]]] = []
        self.found: list[_Place] = []

    def on_visit(self, node: cst.CSTNode) -> bool:
        if isinstance(node, cst.FunctionDef):
            every = (*node.params.params, *node.params.kwonly_params)
            names = tuple(param.name.value for param in every if param.name.value not in ("self", "cls"))
            self._functions.append((names, tuple(param.default for param in every if param.default is not None)))
        if self._functions:
            where = self.get_metadata(PositionProvider, node, None)
            if isinstance(where, CodeRange):
                self.found.append(_Place(node, where, *self._functions[-1]))
        return not isinstance(node, cst.BaseString | cst.Annotation | cst.Decorator)

    def on_leave(self, original_node: cst.CSTNode) -> None:
        if isinstance(original_node, cst.FunctionDef):
            self._functions.pop()


def _proposal(mutate: Mutate) -> Propose:
    def propose(files: Files, path: str, rng: random.Random) -> Iterator[Fault]:
        """At most `MOST` faults of this kind, in random order. They are chosen at once, and written when they are asked
        for: that takes longer."""
        text, kind = files[path], mutate.__name__
        module, places = _parsed(text)
        found = [
            (place, changed)
            for place in places
            for changed in mutate(place.node, Scope(rng, place.parameters, place.defaults))
        ]
        chosen = rng.sample(found, min(MOST, len(found)))
        written = (_rewritten(module, text, place.node, place.where, changed) for place, changed in chosen)
        return (_difference(text, each, path, kind) for each in written if each != text and _compiles(each))

    return propose


@lru_cache(maxsize=16)
def _parsed(text: str) -> tuple[cst.Module, list[_Place]]:
    """Kept for the next kinds: parsing, placing and walking take longer than all the rest."""
    wrapper, places = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True), _Places()
    wrapper.visit(places)
    return wrapper.module, places.found


def _rewritten(module: cst.Module, text: str, node: cst.CSTNode, where: CodeRange, changed: cst.CSTNode) -> str:
    """The text with one node replaced. An expression is exchanged in place, a block needs its indent."""
    if isinstance(node, cst.BaseSuite):
        return cast(cst.Module, module.deep_replace(node, changed)).code
    lines = text.splitlines(keepends=True)
    starts = [0, *accumulate(map(len, lines))]
    start, end = (starts[at.line - 1] + at.column for at in (where.start, where.end))
    if module.code_for_node(node) != text[start:end]:
        return text
    return text[:start] + module.code_for_node(changed) + text[end:]


def _compiles(text: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            compile(text, "<candidate>", "exec")
        except SyntaxError:
            return False
    return True


def _difference(text: str, broken: str, path: str, kind: str) -> Fault:
    """The fault that turns one text into the other: whole lines, from the first that differs to the last."""
    old, new = text.splitlines(keepends=True), broken.splitlines(keepends=True)
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))
    rest = min(len(old), len(new)) - head
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old[::-1], new[::-1], strict=False)))
    tail = min(tail, rest)
    start = len("".join(old[:head]))
    end = len(text) - len("".join(old[len(old) - tail :]))
    inside = "".join(new[head : len(new) - tail])
    return Fault(path, start, end, inside, kind, answer=text[start:end].strip())


SEMANTIC: dict[str, Propose] = {mutate.__name__: _proposal(mutate) for mutate in _MUTATIONS}
"""Every kind of semantic fault."""
