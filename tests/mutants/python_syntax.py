"""Changes of Python that follow its syntax tree, and the text without comments and literals."""

from __future__ import annotations

import ast
import io
import itertools
import tokenize
from collections.abc import Callable, Iterator

from tests.mutants.operators import Change
from tests.mutants.place import Span, line_starts

Node = ast.expr | ast.stmt


def masked_python(text: str) -> str:
    """The text with comments and literals blanked. A formatted string is a literal as a whole, in every version of Python."""
    starts, found, depth = line_starts(text), list(text), 0
    begin = (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        name = tokenize.tok_name[token.type]
        if name == "FSTRING_START":
            begin, depth = (token.start, depth + 1) if not depth else (begin, depth + 1)
        depth -= name == "FSTRING_END"
        if token.type in (tokenize.COMMENT, tokenize.STRING) or (name == "FSTRING_END" and not depth):
            line, column = begin if name == "FSTRING_END" else token.start
            for at in range(starts[line - 1] + column, starts[token.end[0] - 1] + token.end[1]):
                found[at] = found[at] if found[at] == "\n" else "\0"
    return "".join(found)


def by_syntax(text: str, within: Span) -> Iterator[Change]:
    """Conditions that are never true or lack a part, results that are negated, and statements and elements that are missing."""
    lines = text.encode().splitlines(keepends=True)

    def at(line: int, column: int) -> int:
        return len(b"".join(lines[: line - 1]).decode()) + len(lines[line - 1][:column].decode())

    def span(node: Node) -> Span:
        return Span(at(node.lineno, node.col_offset), at(node.end_lineno or 0, node.end_col_offset or 0))

    for node in ast.walk(ast.parse(text)):
        for change in itertools.chain(_replaced(node, span), _missing(node, span)):
            if within.start <= change.span.start and change.span.end <= within.end:
                yield change


def _replaced(node: ast.AST, span: Callable[[Node], Span]) -> Iterator[Change]:
    match node:
        case ast.If(test=test):
            yield Change(span(test), "False")
        case ast.IfExp(test=test):
            yield Change(span(test), "False")
            yield Change(span(test), "True")
        case ast.Return(value=ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()]) as value):
            yield Change(Span(span(value).start, span(value).start), "not ")
        case ast.comprehension(ifs=[*conditions]):
            yield from (Change(span(each), "True") for each in conditions)
        case _:
            pass
    for body in _bodies(node):
        yield from (Change(span(each), "pass") for each in body if _has_effect(each))


def _bodies(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """Lists of statements that can be deleted one by one. The only one under a condition has the same mutant as the condition."""
    match node:
        case ast.If(body=body, orelse=orelse):
            yield from ([body] if len(body) > 1 else [])
            yield orelse
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.With() | ast.AsyncWith() | ast.Try() | ast.For():
            yield node.body
        case ast.While() | ast.ExceptHandler() | ast.match_case():
            yield node.body
        case _:
            pass


def _has_effect(statement: ast.stmt) -> bool:
    """Without the others the mutant fails in each test: a name that is not set, a function that returns nothing."""
    match statement:
        case ast.Expr(value=ast.Constant()):
            return False
        case ast.Expr() | ast.AugAssign() | ast.Raise() | ast.Delete():
            return True
        case ast.Assign(targets=targets):
            return all(isinstance(each, ast.Attribute | ast.Subscript) for each in targets)
        case _:
            return False


def _missing(node: ast.AST, span: Callable[[Node], Span]) -> Iterator[Change]:
    """Without one operand of ``and`` or ``or``, or one element of a list or set."""
    match node:
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Set(elts=parts) if len(parts) > 1:
            for one, following in itertools.pairwise(parts):
                yield Change(Span(span(one).start, span(following).start), "")
            yield Change(Span(span(parts[-2]).end, span(parts[-1]).end), "")
        case _:
            pass
