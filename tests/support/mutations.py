"""Small changes of a source file, one at a time.

An operator, a constant, a condition or a statement becomes another; an argument is left out.

Docstrings, annotations, error texts and `__repr__` stay as they are.
"""

import ast
import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass

SWAPS = [
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
]
OPERATORS = {**dict(SWAPS), **{after: before for before, after in SWAPS}}
CONTEXT = 32  # characters shown on each side of what changed


@dataclass(frozen=True)
class Mutant:
    """A changed source; a test must run `lines` of the original to notice, or import it if none.

    `code` is the changed function or class without its words: it stays when these are mended.
    """

    line: int
    function: str
    before: str
    after: str
    lines: frozenset[int]
    source: str
    code: str


@dataclass
class Site:
    """A node that can be changed, where it hangs, and what it becomes."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    new: ast.AST
    function: str
    lines: frozenset[int]

    def put(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def draw(source: str, number: int, rng: random.Random) -> list[Mutant]:
    """`number` mutants of a file; a larger number draws the same ones first."""
    tree = ast.parse(source)
    sites = list(_sites(tree, "", None))
    rng.shuffle(sites)
    return [_mutant(tree, site) for site in sites[:number]]


def _mutant(tree: ast.Module, site: Site) -> Mutant:
    before = ast.unparse(tree)
    site.put(site.new)
    after = ast.unparse(tree)
    line = site.node.lineno
    code = ast.unparse(Wordless().visit(copy.deepcopy(_top(tree, line))))
    site.put(site.node)
    return Mutant(line, site.function, *_shown(before, after), site.lines, after, code)


def _top(tree: ast.Module, line: int) -> ast.stmt:
    """The function, class or statement of the module that holds the line."""
    return next(each for each in tree.body if line <= (each.end_lineno or line))


class Wordless(ast.NodeTransformer):
    """Takes docstrings and the texts of errors and messages out of code."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return ast.Pass() if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return ast.Constant("")

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()


def _shown(before: str, after: str) -> tuple[str, str]:
    """The line that differs, cut to what is around the difference."""
    lines = zip(before.splitlines(), after.splitlines(), strict=True)
    one, two = next((a.strip(), b.strip()) for a, b in lines if a != b)
    same = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), len(two))
    last, shorter = 0, min(len(one), len(two)) - same
    while last < shorter and one[-1 - last] == two[-1 - last]:
        last += 1
    start, end = max(same - CONTEXT, 0), max(last - CONTEXT, 0)
    return one[start : len(one) - end], two[start : len(two) - end]


def _sites(node: ast.AST, function: str, lines: frozenset[int] | None) -> Iterator[Site]:
    """What can be changed in a node; `lines` are None outside functions, where imports run it."""
    for field, index, child in _children(node):
        if _left_out(child):
            continue
        within, where = lines, function
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            where = f"{function}.{child.name}".lstrip(".")
        if isinstance(child, ast.ClassDef):
            within = None
        elif isinstance(child, ast.FunctionDef) or (isinstance(child, ast.stmt) and lines):
            within = frozenset({child.lineno})
        if isinstance(child, ast.arguments) and isinstance(node, ast.FunctionDef):
            within = frozenset(range(node.body[0].lineno, node.end_lineno + 1))
        at = within or frozenset()
        if at and _simple(child):
            at |= set(range(child.lineno, child.end_lineno + 1))
        for new in _changes(node, field, child):
            yield Site(node, field, index, child, new, where, at)
        yield from _sites(child, where, within)


def _simple(node: ast.AST) -> bool:
    return isinstance(node, ast.expr | ast.Expr | ast.AugAssign | ast.Return)


def _children(node: ast.AST) -> Iterator[tuple[str, int | None, ast.AST]]:
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield field, index, child


def _left_out(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.Raise() | ast.FunctionDef(name="__repr__"):
            return True
        case ast.Call(func=ast.Name(id=name)) if name.endswith(("Error", "Warning")):
            return True
        case ast.Subscript(value=ast.Name(id="Literal")):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Compare(left=ast.Name(id="__name__"))):
            return True
    return False


def _text(*nodes: ast.AST) -> bool:
    """Whether one is a string: paths and texts have no other operator."""
    return any(
        isinstance(node, ast.JoinedStr)
        or (isinstance(node, ast.Constant) and isinstance(node.value, str))
        for node in nodes
    )


def _changes(parent: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """What `node` may become; every one is another meaning."""
    match node:
        case ast.BinOp(left, op, right) if type(op) in OPERATORS and not _text(left, right):
            yield ast.BinOp(left, OPERATORS[type(op)](), right)
        case ast.Compare(left, [op], right) if type(op) in OPERATORS:
            yield ast.Compare(left, [OPERATORS[type(op)]()], right)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(OPERATORS[type(op)](), values)
        case ast.UnaryOp(ast.Not(), operand) if field not in ("test", "ifs"):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value) if value + 1 != value:
            yield ast.Constant(value + 1)
        case ast.Expr(ast.Call()) | ast.AugAssign():
            yield ast.Pass()
        case ast.Call(func, args, keywords):  # an option that is read, and then not passed on
            for left in (each for each in keywords if each.arg):
                yield ast.Call(func, args, [each for each in keywords if each is not left])
            if len(args) > 1 and not isinstance(args[-1], ast.Starred):
                yield ast.Call(func, args[:-1], keywords)
        case ast.Return(value) if value and not isinstance(value, ast.Constant):
            yield ast.Return(None)
    if field == "ifs" or (field == "test" and isinstance(parent, ast.If | ast.IfExp)):
        match node:
            case ast.UnaryOp(ast.Not(), operand):
                yield operand
            case ast.Compare(ops=[op]) if type(op) in OPERATORS:
                pass  # its operator is turned around above
            case _:
                yield ast.UnaryOp(ast.Not(), node)
