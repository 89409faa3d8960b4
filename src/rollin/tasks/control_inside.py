"""The half of a control that runs inside a sandbox: `python -I control_inside.py FILE...` makes tests that can't pass.

Every test function of the files raises at its beginning from now on. Prints the ids of those, each with a NUL behind
it. A decorator may make a success of a failure: what has one that isn't a mark of pytest's stays as it is. A name that
is given to something else, too, may not be the function's when the tests run: it isn't told.
"""

import ast
import sys
from pathlib import Path


class Failing(ast.NodeTransformer):
    """Has a file's tests fail, and notes their names."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.others: set[str] = set()
        """Names that are given to something that doesn't fail."""
        self._around: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if _marked_at_most(node):
            self._around.append(node.name)
            self.generic_visit(node)
            self._around.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        self._fail(node)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AsyncFunctionDef:
        self._fail(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.Name:
        if isinstance(node.ctx, ast.Store):
            self.others.add(self._full(node.id))
        return node

    def visit_alias(self, node: ast.alias) -> ast.alias:
        self.others |= self.names if node.name == "*" else {self._full(node.asname or node.name)}
        return node

    def _fail(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.name.startswith("test") and _marked_at_most(node):
            node.body[:0] = ast.parse("raise AssertionError").body
            self.names.add(self._full(node.name))
        else:
            self.others.add(self._full(node.name))

    def _full(self, name: str) -> str:
        return "::".join([*self._around, name])


def _marked_at_most(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return all(ast.unparse(each).startswith("pytest.mark.") for each in node.decorator_list)


def main() -> None:
    """Change the files."""
    for path in map(Path, sys.argv[1:]):
        failing = Failing()
        tree = failing.visit(ast.parse(path.read_bytes()))
        path.write_text(ast.unparse(tree), encoding="utf-8")
        sys.stdout.write("".join(f"{path}::{name}\0" for name in sorted(failing.names - failing.others)))


if __name__ == "__main__":
    main()
