"""The code of a Python text, apart from its words: what a hash of it may depend on, and what it imports.

Comments, docstrings, blank lines, formatting, the texts of errors and imports for type checkers alone change nothing
that the code computes, so they are no part of its hash. Any other change is.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CODE = "code:"  # what the hash of a code begins with; the hash of a whole text has no such mark
# Errors whose argument is a value that a handler reads, not a sentence.
_VALUES = frozenset({"KeyError", "StopIteration", "StopAsyncIteration", "SystemExit"})
# Errors whose texts are sentences wherever they are made. Of another class this is known only where it is raised: a
# metric may be called `MeanSquaredError`, and its arguments are settings. Listed by name, so that the hash is the same
# in every version of Python.
_OF_PYTHON = frozenset(
    {"ArithmeticError", "AssertionError", "AttributeError", "BaseException", "BlockingIOError", "BrokenPipeError"}
    | {"BufferError", "ChildProcessError", "ConnectionError", "EOFError", "Exception", "FileExistsError"}
    | {"FileNotFoundError", "FloatingPointError", "IOError", "ImportError", "IndexError", "InterruptedError"}
    | {"IsADirectoryError", "LookupError", "MemoryError", "ModuleNotFoundError", "NameError", "NotADirectoryError"}
    | {"NotImplementedError", "OSError", "OverflowError", "PermissionError", "ProcessLookupError", "RecursionError"}
    | {"ReferenceError", "RuntimeError", "SyntaxError", "SystemError", "TimeoutError", "TypeError", "ValueError"}
    | {"ZeroDivisionError"}
)
_OWN = frozenset({"InputError", "DomainError", "TrialError", "NotApplicable", "Diverged", "Stopped", "Rejected"})
_SENTENCES = frozenset({"place", "remedy"})  # the keywords of an InputError, which may be computed
_SKIPPED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})  # follow from the rest, or are comments


def code_hash(text: str) -> str:
    """A hash of what a Python text does: "code:" and 16 hexadecimal digits. Raises SyntaxError.

    It does not depend on the version of Python, as far as the text means the same in each.

    >>> code_hash("x = 1  # one") == code_hash("'''One.'''\\nx = (1)")
    True
    >>> code_hash("x = 1") == code_hash("x = 2")
    False
    """
    return CODE + digest([ast.parse(text)])


def digest(nodes: Sequence[ast.AST]) -> str:
    """A hash of nodes, 16 hexadecimal digits, by the rules of `code_hash`."""
    content = hashlib.sha256()
    for node in nodes:
        for part in _parts(node):
            content.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return content.hexdigest()[:16]


def _parts(node: object) -> Iterator[str]:
    """A node as a sequence of words, which no version of Python writes differently, as it may `ast.dump`."""
    if isinstance(node, list):
        yield "["
        for item in _that_run(node):
            yield from _parts(item)
        yield "]"
    elif isinstance(node, ast.Constant):
        yield f"{type(node.value).__name__} {node.value!r}"
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name, value in _fields(node):
            yield f".{name}"
            yield from _parts(value)
        yield ")"
    else:
        yield repr(node)


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    """The fields of a node that count. Empty ones do not: a later version of Python may have more of them."""
    error = _error_of(node)
    for name, value in ast.iter_fields(node):
        if name in _SKIPPED or value is None or (isinstance(value, list) and not _that_run(value)):
            continue
        if isinstance(node, ast.Assert) and name == "msg":
            continue
        if error is not None and name == "exc":  # of a class that only a raise gives away as one
            yield name, _without_text(error)
        elif error is node and name in ("args", "keywords"):
            yield name, getattr(_without_text(error), name)
        else:
            yield name, value


def _error_of(node: ast.AST) -> ast.Call | None:
    """The call that makes an error, where the node is one or raises one; None where its argument may be a value."""
    made = node.exc if isinstance(node, ast.Raise) else node
    if not isinstance(made, ast.Call):
        return None
    name = _name_of(made.func)
    if name in _VALUES:
        return None
    is_raised = isinstance(node, ast.Raise) and name.lstrip("_")[:1].isupper()
    return made if is_raised or name in _OF_PYTHON | _OWN else None


def _name_of(called: ast.expr) -> str:
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _without_text(call: ast.Call) -> ast.Call:
    left_out = _SENTENCES if _name_of(call.func) == "InputError" else frozenset()
    arguments: list[ast.expr] = [ast.Constant(None) if _is_text(argument) else argument for argument in call.args]
    keywords = [
        ast.keyword(argument.arg, ast.Constant(None) if _is_text(argument.value) else argument.value)
        for argument in call.keywords
        if argument.arg not in left_out
    ]
    return ast.Call(call.func, arguments, keywords)


def _is_text(node: ast.expr) -> bool:
    """Whether an expression can give nothing but a sentence."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) if isinstance(node.op, ast.Mod) else _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("join", "format") and _is_text(node.func.value)
    return isinstance(node, ast.JoinedStr)


def _that_run(nodes: list[object]) -> list[object]:
    """The nodes of a list without docstrings, and without what only a type checker sees."""
    kept: list[object] = []
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            continue
        if isinstance(node, ast.If) and _for_type_checkers(node):
            kept += _that_run(list(node.orelse))
        else:
            kept.append(node)
    return kept


def _for_type_checkers(node: ast.If) -> bool:
    test = node.test
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


@dataclass(frozen=True)
class Import:
    """An import anywhere in a text: `import module`, or `from module import name`.

    `level` is the number of dots before the module: 0 where it is named in full.
    """

    module: str
    name: str | None = None
    level: int = 0


def imports(tree: ast.AST) -> Iterator[Import]:
    """Every import below a node, those inside functions too; not those for type checkers alone."""
    if isinstance(tree, ast.Import):
        yield from (Import(alias.name) for alias in tree.names)
    elif isinstance(tree, ast.ImportFrom):
        yield from (Import(tree.module or "", alias.name, tree.level) for alias in tree.names)
    else:
        for value in vars(tree).values():
            for node in _that_run(value if isinstance(value, list) else [value]):
                if isinstance(node, ast.AST):
                    yield from imports(node)
