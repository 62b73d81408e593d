"""Write what the code says of itself: dictionary.md, reference.md and architecture.svg."""

import ast
import inspect
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from runpy import run_path

import foundation

_HEAD = "<!-- Made by `make docs`; change the code, not this page. -->\n\n"


def dictionary() -> str:
    """The data dictionary: what may stand in each column, which rows belong together, what is checked."""
    parts = ["# The data dictionary\n\nEight files, one table each, in the order in which they are loaded."]
    for source in foundation.SOURCES:
        columns = source.dictionary()
        parts += [
            f"## {source.name}\n\n{source.description} File: `{source.file_name}`.",
            _table(map(dict.values, columns), columns[0]),
        ]
        indexes = " · ".join(", ".join(f"`{name}`" for name in index) for index in source.indexes)
        parts += [f"Indexes: {indexes}."] if indexes else []
        checks = [(f"`{name}`", f"`{condition}`") for name, condition in source.checks.items()]
        parts += [_table(checks, ("check", "a plausible row meets"))] if checks else []
    return _HEAD + "\n\n".join(parts) + "\n"


def _table(rows: Iterable[Iterable[str]], head: Iterable[str]) -> str:
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def reference() -> str:
    """Every public name with its signature and docstring, the methods of classes included."""
    parts = ["# Python reference\n\nWhat `import foundation` offers; [recipes.md](recipes.md) shows it at work."]
    for name in foundation.__all__:
        parts += _entry(name, getattr(foundation, name))
    return _HEAD + "\n\n".join(parts) + "\n"


def _entry(name: str, thing: object) -> Iterator[str]:
    yield f"## {name}"
    if not callable(thing):
        yield "The eight sources of the delivery data, parents first: see [dictionary.md](dictionary.md)."
    else:
        (node,) = ast.parse(inspect.getsource(thing)).body
        yield from _told(node, name)
        for method in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                yield from _told(method, f"{name}.{method.name}", heading="### ")


def _told(node: ast.ClassDef | ast.FunctionDef, name: str, *, heading: str = "") -> Iterator[str]:
    """A signature as it is written in the code, which is the same with every Python, and the docstring."""
    if heading:
        yield f"{heading}{name}"
    signature = _of_class(node, name) if isinstance(node, ast.ClassDef) else _of_function(node, name)
    yield "```python\n" + signature.replace("'", '"') + "\n```"  # quotes as the formatter has them
    yield ast.get_docstring(node) or ""


def _of_class(node: ast.ClassDef, name: str) -> str:
    made = next((part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"), None)
    if made:
        return f"class {name}{_arguments(made)}"
    fields = "".join(f"\n    {ast.unparse(part)}" for part in node.body if isinstance(part, ast.AnnAssign))
    return f"class {name}({', '.join(map(ast.unparse, node.bases))})".replace("()", "") + (
        f":{fields}" if fields else ""
    )


def _of_function(node: ast.FunctionDef, name: str) -> str:
    is_property = any(ast.unparse(mark).endswith("property") for mark in node.decorator_list)
    gives = node.returns.value if isinstance(node.returns, ast.Constant) else ast.unparse(node.returns)
    return f"{name}{'' if is_property else _arguments(node)} -> {gives}"


def _arguments(node: ast.FunctionDef) -> str:
    told = ast.unparse(node.args).removeprefix("self").removeprefix(", ")
    return f"({told})" if len(told) < 100 else "(\n    " + re.sub(r", (?=\*, |\w+: )", ",\n    ", told) + ",\n)"


_PICTURE = run_path(str(Path(__file__).with_name("picture.py")))["picture"]
PAGES = {"dictionary.md": dictionary, "reference.md": reference, "architecture.svg": _PICTURE}

if __name__ == "__main__":
    for page, write in PAGES.items():
        (Path(__file__).parent / page).write_text(write(), encoding="utf-8")
