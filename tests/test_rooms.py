"""Which module imports which: no circle in the package, arrows one way in its occlusion part, and no long file."""

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
MODULES = {
    '.'.join(path.relative_to(REPO).with_suffix('').parts).removesuffix('.__init__'): path
    for path in (REPO / 'mmhybrid').rglob('*.py')
}
OCCLUSION = 'mmhybrid.occlusion'
# Its rooms, '' for its __init__: each may import from those below it, but none from one beside it.
FLOORS = [
    ['cli'],
    [''],
    ['api'],
    ['show'],
    ['analysis'],
    ['selection'],
    ['results'],
    ['parts'],
    ['ratios', 'matching'],
    ['protocols'],
    ['instance_strata'],
    ['read', 'strata'],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
WRITTEN_BY_HAND = ('.py', '.css', '.js', '.html', '.jinja')
MOST_LINES = 300
MOST_LINES_OF_OCCLUSION = 13000  # what a change adds to it is worth a second look


@cache
def imports(name):
    """The package's modules that a module imports, at its top, in its functions or for types alone."""
    path = MODULES[name]
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name('.' * node.level + (node.module or ''), package)
            # What is imported from a package is a module of it, or a name in its __init__.
            found |= {m if (m := f'{base}.{alias.name}') in MODULES else base for alias in node.names}
    return found & MODULES.keys() - {name}


def circle(graph):
    """The nodes of a circle, or None."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]


def within(name, package):
    return name == package or name.startswith(f'{package}.')


def room(name):
    return name.removeprefix(OCCLUSION).removeprefix('.').partition('.')[0]


def written(folder):
    return [path for path in folder.rglob('*') if path.suffix in WRITTEN_BY_HAND]


def lines(path):
    return len(path.read_text(encoding='utf-8').splitlines())


def test_imports_of_each_kind_are_seen(tmp_path, monkeypatch):
    for name, text in {
        'p/__init__.py': 'from . import a',
        'p/a.py': 'from .q import b, name\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .q.c import C',
        'p/q/__init__.py': '',
        'p/q/b.py': 'def function():\n    from ..a import late',
        'p/q/c.py': 'import p.q.b, os',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        monkeypatch.setitem(MODULES, name.removesuffix('.py').removesuffix('/__init__').replace('/', '.'), path)
    found = {name: imports(name) for name in ('p', 'p.a', 'p.q', 'p.q.b', 'p.q.c')}
    assert found == {'p': {'p.a'}, 'p.a': {'p.q', 'p.q.b', 'p.q.c'}, 'p.q': set(), 'p.q.b': {'p.a'}, 'p.q.c': {'p.q.b'}}
    assert set(circle(found)) in ({'p.a', 'p.q.b'}, {'p.a', 'p.q.b', 'p.q.c'})
    assert circle({name: found[name] - {'p.a'} for name in found}) is None


def test_no_module_imports_itself_through_others():
    assert circle({name: imports(name) for name in MODULES}) is None


def test_layers_know_only_torch():
    outside = {name: {m for m in imports(name) if not within(m, 'mmhybrid.layers')} for name in MODULES}
    assert not {name: found for name, found in outside.items() if within(name, 'mmhybrid.layers') and found}


def test_the_rooms_of_occlusion_import_downwards():
    inside = [name for name in MODULES if within(name, OCCLUSION)]
    assert {room(name) for name in inside} == FLOOR.keys()
    arrows = [(name, m) for name in inside for m in imports(name) if within(m, OCCLUSION) and room(name) != room(m)]
    assert arrows
    assert not [f'{name} -> {m}' for name, m in arrows if FLOOR[room(name)] >= FLOOR[room(m)]]


@pytest.mark.parametrize('folder', ['mmhybrid', 'tests', 'tools', 'benchmarks'])
def test_no_file_is_long(folder):
    lengths = {str(path.relative_to(REPO)): lines(path) for path in written(REPO / folder)}
    assert lengths
    assert not {path: length for path, length in lengths.items() if length > MOST_LINES}


def test_the_occlusion_package_stays_small():
    assert sum(map(lines, written(REPO / 'mmhybrid' / 'occlusion'))) <= MOST_LINES_OF_OCCLUSION
