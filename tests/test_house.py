"""Rules of the house that no linter checks: imports without circles, names that say something, documents at hand."""

import ast
import re
from collections import defaultdict
from functools import cache

import pytest

from tests.support.paths import ROOT

VAGUE = {"found", "said", "told", "mine", "own", "made", "kept", "seen", "asked", "wanted", "here", "there"}
"""Words that are no names: they say neither what a variable holds nor what a function does."""

INTERNAL = re.compile(r"DESIGN\s*§|DESIGN\.md|\bHOUSE\b|\bspec 0\d\b")
"""References to documents that a reader of the repository does not have."""

TEXTS = {".py", ".md", ".toml", ".yaml", ".yml", ".txt", ".json", ".sh", ".sbatch", ".cfg", ".conf", ""}


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(modules):
    """The modules that each module imports: at its head, in functions, and for types alone."""
    graph = {}
    for name, path in modules.items():
        targets = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    targets.add(full if full in modules else node.module)
        graph[name] = (targets & modules.keys()) - {name}
    return graph


def circles(graph):
    """The strongly connected components of more than one module (Tarjan 1972)."""
    number, lowest, stack, components = {}, {}, [], []

    def visit(node):
        number[node] = lowest[node] = len(number)
        stack.append(node)
        for target in graph[node]:
            if target not in number:
                visit(target)
                lowest[node] = min(lowest[node], lowest[target])
            elif target in stack:
                lowest[node] = min(lowest[node], number[target])
        if lowest[node] == number[node]:
            start = stack.index(node)
            components.append(sorted(stack[start:]))
            del stack[start:]

    for node in graph:
        if node not in number:
            visit(node)
    return [component for component in components if len(component) > 1]


def names(node):
    """The names that a node gives: to variables, parameters, attributes and functions."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
            return [name]
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ExceptHandler(name=str(name)):
            return [name]
        case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.alias(asname=str(name)):
            return [name]
    return []


def vague(paths):
    return [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', '?')} {name}"
        for path in paths
        for node in ast.walk(tree(path))
        for name in names(node)
        if name.strip("_") in VAGUE
    ]


def test_no_modules_import_each_other():
    modules = {module_name(path): path for path in sources("eopipe")}
    assert len(modules) > 100
    assert circles(imports(modules)) == []


def test_circles_are_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == [["b", "c"]]


FOLDERS = (
    "eopipe",
    "flows",
    *(
        f"tests/{name}"
        for name in ["broken", "cli", "demo", "engine", "evaluation", "invariants", "kernels", "support"]
    ),
)
"""Folders whose names are checked; in other folders of tests some names are still to be replaced."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_names_say_what_they_hold(folder):
    assert vague(sources(folder)) == []


def test_vague_names_are_seen():
    code = """
def told(made):
    self.own = [here for here in made]
    try: kept: int = 1
    except E as found: pass
"""
    given = {name for node in ast.walk(ast.parse(code)) for name in names(node)}
    assert given == {"told", "made", "own", "here", "kept", "found"}


def test_no_public_class_name_twice():
    places = defaultdict(list)
    for path in sources("eopipe"):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module_name(path))
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_nothing_refers_to_documents_outside_the_repository():
    folders = ("eopipe", "flows", "tests", "docs", "deploy", ".ci")
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*"))]
    paths += [path for path in sorted(ROOT.iterdir()) if path.is_file()]
    hits = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()}"
        for path in paths
        if path.is_file() and path.suffix in TEXTS and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if INTERNAL.search(line)
    ]
    assert hits == []
