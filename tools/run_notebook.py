#!/usr/bin/env python3
"""Run a notebook's cells in one namespace and write what they print into it, without Jupyter."""

from __future__ import annotations

import argparse
import ast
import contextlib
import io
import json
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any


def main() -> None:
    """Run notebooks in place."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog='example:\n  python tools/run_notebook.py examples/occlusion_evaluation.ipynb',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('notebooks', nargs='+', type=Path, metavar='FILE')
    for path in parser.parse_args().notebooks:
        made = run(json.loads(path.read_text(encoding='utf-8')))
        path.write_text(json.dumps(made, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')
        print(f'wrote {path}')


def run(notebook: dict[str, Any]) -> dict[str, Any]:
    """A copy of a notebook (nbformat 4) with the outputs of a run.

    These are what is printed, and a cell's last expression as text or as the PNG that its ``_repr_png_`` gives. A
    cell's error ends it.
    """
    names: dict[str, Any] = {'__name__': '__main__'}
    cells, count = [], 0
    for cell in notebook['cells']:
        if cell['cell_type'] == 'code':
            count += 1
            cell = cell | {'execution_count': count, 'outputs': _outputs(''.join(cell['source']), count, names)}
        cells.append(cell)
    return notebook | {'cells': cells}


def _outputs(source: str, count: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    tree, value = ast.parse(source), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) and not source.endswith(';') else None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(tree, f'<cell {count}>', 'exec'), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f'<cell {count}>', 'eval'), names)
    outputs = []
    if text := printed.getvalue():
        outputs.append({'name': 'stdout', 'output_type': 'stream', 'text': _lines(text)})
    if value is not None:
        shown = {'text/plain': _lines(repr(value))}
        if hasattr(value, '_repr_png_'):
            shown = {'image/png': b64encode(value._repr_png_()).decode(), 'text/plain': ['a picture']}
        outputs.append({'data': shown, 'execution_count': count, 'metadata': {}, 'output_type': 'execute_result'})
    return outputs


def _lines(text: str) -> list[str]:
    return [line.rstrip() + '\n' * line.endswith('\n') for line in text.splitlines(keepends=True)]


if __name__ == '__main__':
    sys.exit(main())
