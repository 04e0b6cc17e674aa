"""One HTML page of what several analyses found, which needs nothing from outside."""

from __future__ import annotations

import io
import json
import os
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmhybrid.errors import InputError
from mmhybrid.occlusion.show import figures
from mmhybrid.outputs import HEAD
from mmhybrid.text import is_unsafe
from mmhybrid.version import __version__

from .findings import SCHEMA, SCHEMA_VERSION
from .kinds import KINDS

LARGE = 300_000  # bytes of a figure from which on it is compressed with loss, so that a page of many stays light
WIDTH = 1400  # of such a one, in pixels, at most
_PNG = b'\x89PNG\r\n\x1a\n'
_TEXTS = ('kind', 'about', 'command')
_LISTS = ('answer', 'notes', 'figures', 'tables', 'models')


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes:
        uri: The figure as a ``data:`` URI; None if none of its files can be shown.
        links: Address and name of each of its files.
        missing: Names of those that cannot be read.
    """

    uri: str | None
    links: Sequence[tuple[str, str]]
    missing: Sequence[str]


@dataclass(frozen=True)
class Entry:
    """One analysis.

    Attributes:
        identity: Unique in the page.
        path: Its JSON file within the folder.
        address: The same, from the page.
        label: Its kind, and the path where a kind comes more than once.
        title: Its kind and what that shows.
        document: Content of the JSON file.
        pictures: Its figures.
    """

    identity: str
    path: str
    address: str
    label: str
    title: str
    document: Mapping[str, Any]
    pictures: Sequence[Picture]


def render(folder: Path, place: Path) -> str:
    """The page of all findings below a folder, in the order of :data:`~mmhybrid.inspecting.kinds.KINDS`, then of paths.

    Figures are within the page: of each the smaller of its files. The same files give the same page.

    Args:
        folder: Is searched for JSON files of this command.
        place: The folder that the page will lie in, which its links lead from.

    Raises:
        InputError: There are none.
    """
    if not folder.is_dir():
        raise InputError(f'There is no folder {folder}; give one that mmhybrid inspect wrote to.')
    found, broken = _find(folder)
    if not found:
        besides = f'; what cannot be read: {"; ".join(broken)}' if broken else ''
        raise InputError(
            f'{folder} holds no findings: mmhybrid inspect KIND writes them, a JSON file beside the figures{besides}.'
        )
    order = {kind: i for i, kind in enumerate(KINDS)}
    found.sort(key=lambda each: (order.get(each[1]['kind'], len(order)), each[1]['kind'], each[0].as_posix()))
    counts = Counter(document['kind'] for _, document in found)
    entries = [
        _entry(number, folder / path, path.as_posix(), document, place, counts[document['kind']] > 1)
        for number, (path, document) in enumerate(found, 1)
    ]
    return _template().render(entries=entries, broken=broken, folder=folder.resolve().name).lstrip()


def _find(folder: Path) -> tuple[list[tuple[Path, dict[str, Any]]], list[str]]:
    """Path within the folder and content of each file of ours, and a sentence about each that cannot be used."""
    found, broken = [], []
    for path in sorted(folder.rglob('*.json')):
        inside = path.relative_to(folder)
        try:
            if not path.is_file():
                continue
            with path.open('rb') as file:
                content = file.read(HEAD)
                if SCHEMA.encode() not in content:  # somebody else's
                    continue
                content += file.read()
            document = json.loads(content)
        except OSError as error:
            broken.append(f'{inside.as_posix()} cannot be opened ({error.strerror})')
        except (ValueError, RecursionError):
            broken.append(f'{inside.as_posix()} is damaged: its JSON does not end as it begins')
        else:
            if not isinstance(document, dict) or document.get('schema') != SCHEMA:
                continue
            if why := _wrong(document):
                broken.append(f'{inside.as_posix()} {why}')
            else:
                found.append((inside, document))
    return found, broken


def _wrong(document: Mapping[str, Any]) -> str | None:
    """Why a file cannot be shown, as the rest of a sentence."""
    if document.get('schema_version') != SCHEMA_VERSION:
        return 'is of another version of mmhybrid'
    checks = (
        all(isinstance(document.get(key), str) for key in _TEXTS),
        all(isinstance(document.get(key), list) for key in _LISTS),
    )
    if all(checks):
        lists = {key: document[key] for key in _LISTS}
        checks += (
            all(isinstance(each, str) for key in ('answer', 'notes') for each in lists[key]),
            all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists['figures']),
            all(map(_is_model, lists['models'])),
            isinstance(document.get('images', []), list),
            all(map(_is_table, lists['tables'])),
        )
    return None if all(checks) else 'is not as mmhybrid inspect writes it'


def _is_model(model: Any) -> bool:
    named = isinstance(model, dict) and all(isinstance(model.get(key), str) for key in ('name', 'model', 'backbone'))
    return named and isinstance(model.get('checkpoint'), str | None)


def _is_table(table: Any) -> bool:
    if not isinstance(table, dict) or not isinstance(table.get('title'), str):
        return False
    rows = [table.get('columns'), *table['rows']] if isinstance(table.get('rows'), list) else [None]
    return all(isinstance(row, list) and len(row) == len(rows[0]) and row for row in rows)


def _entry(number: int, file: Path, path: str, document: Mapping[str, Any], place: Path, is_repeated: bool) -> Entry:
    kind = document['kind']
    return Entry(
        identity=f'finding-{number}',
        path=path,
        address=_address(file, place),
        label=f'{kind} ({path})' if is_repeated else kind,
        title=f'{kind}: {KINDS[kind].help}' if kind in KINDS else kind,
        document=document,
        pictures=[_picture(file.parent, names, place) for names in document['figures']],
    )


def _picture(folder: Path, names: Sequence[str], place: Path) -> Picture:
    contents: dict[str, bytes] = {}
    for name in names:
        # A file could name any other file of its reader's, who may show the page to others.
        if Path(name).name != name:
            continue
        try:
            content = (folder / name).read_bytes()
        except OSError:
            continue
        if (name.endswith('.png') and content.startswith(_PNG)) or (
            name.endswith('.svg') and b'<svg' in content[:HEAD]
        ):
            contents[name] = content
    links = [(_address(folder / name, place), name) for name in contents]
    return Picture(_uri(contents), links, [name for name in names if name not in contents])


def _uri(contents: Mapping[str, bytes]) -> str | None:
    if not contents:
        return None
    name, content = min(contents.items(), key=lambda each: len(each[1]))
    form = 'svg+xml' if name.endswith('.svg') else 'png'
    drawn = next((each for name, each in contents.items() if name.endswith('.png')), None)
    light = _lightened(drawn) if drawn is not None and len(content) > LARGE else None
    if light is not None and len(light[1]) < len(content):
        form, content = light
    return f'data:image/{form};base64,{b64encode(content).decode()}'


def _lightened(content: bytes) -> tuple[str, bytes] | None:
    """A PNG as WebP, or as JPEG where Pillow cannot write the other; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            opaque = Image.new('RGB', image.size, 'white')
            opaque.paste(image, mask=image.convert('RGBA').getchannel('A'))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # browsers show what there is of it
    if opaque.width > WIDTH:
        opaque = opaque.resize((WIDTH, round(opaque.height * WIDTH / opaque.width)), Image.Resampling.LANCZOS)
    for form in ('webp', 'jpeg'):
        made = io.BytesIO()
        try:
            opaque.save(made, form, quality=85)
        except (OSError, KeyError, ValueError):
            continue  # Pillow was built without it, or the picture is too high for it
        return form, made.getvalue()
    return None


def _address(file: Path, place: Path) -> str:
    return quote(os.fsencode(os.path.relpath(file, place).replace(os.sep, '/')))


def _template() -> Any:
    """The page's template; every value is escaped, and what steers or what HTML forbids becomes a sign for it."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, finalize=_allowed, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.globals |= {
        'version': __version__,
        'css_variables': figures.css_variables,
        'style': files('mmhybrid.occlusion.show.report').joinpath('style.css').read_text(encoding='utf-8'),
    }
    made.filters['file_name'] = lambda path: str(path).replace('\\', '/').rstrip('/').rpartition('/')[2]
    return made.from_string(files(__package__).joinpath('gallery.html').read_text(encoding='utf-8'))


def _allowed(value: Any) -> Any:
    if not isinstance(value, str) or hasattr(value, '__html__') or value.isprintable():
        return value
    return ''.join(
        '\ufffd'
        if (is_unsafe(char) and char not in '\t\n') or ord(char) & 0xFFFE == 0xFFFE or '\ufdd0' <= char <= '\ufdef'
        else char
        for char in value
    )
