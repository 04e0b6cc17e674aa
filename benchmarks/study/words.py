"""Numbers and verdicts as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import plan
from .effects import MAX_SEEDS

CLAIM = {
    'supported': 'the claim is **supported**',
    'contradicted': 'the claim is **contradicted**',
    'undecided': 'the claim is **undecided**',
    'a loss that shrinks': 'the claim is **not supported**: it is a loss that shrinks',
}
WHOLE = {'better': 'it is **better**', 'worse': 'it is **worse**', 'undecided': 'neither is shown to be better'}


def signed(value: float | None, scale: float = 100, digits: int = 1) -> str:
    """A difference, by default in points; a dash where there is none."""
    if value is None:
        return '-'
    text = f'{scale * value:+.{digits}f}'
    return text.replace('-', '+') if not float(text) else text


def change(found: Mapping[str, Any], scale: float = 100, digits: int = 1) -> str:
    """A difference with its interval, by default in points."""
    value = signed(found['value'], scale, digits)
    if found['low'] is None:
        return value
    return f'{value} [{signed(found["low"], scale, digits)}, {signed(found["high"], scale, digits)}]'


def p_value(p: float | None) -> str:
    """Three digits after the point are enough to read."""
    return '-' if p is None else '< 0.001' if p < 0.001 else f'{p:.3f}'


def count(number: int, noun: str) -> str:
    """A number with its noun."""
    return f'{number:,} {noun}{"" if number == 1 else "s"}'


def needed(found: Mapping[str, Any]) -> str:
    """What would decide an undecided difference, as the end of a sentence; nothing if it is decided."""
    if found['verdict'] != 'undecided':
        return ''
    if found['seeds'] < 2:
        return '; one seed decides nothing'
    if found['seeds_needed']:
        return f'; were this the true difference, {count(found["seeds_needed"], "seed")} would decide it'
    if found['images_needed'] is None:
        return ''
    if found['images_needed'] <= found['images']:
        return f'; were this the true difference, it would take more than {MAX_SEEDS:,} seeds to decide it'
    return (
        f'; on these {found["images"]} images no number of seeds would decide it, were this the true difference: '
        f'it would take at least {two_digits(found["images_needed"])}'
    )


def two_digits(number: int) -> str:
    """Rounded up to two leading digits: more would feign a precision that a variance of four seeds lacks."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f'{-(-number // unit) * unit:,}'


def answer(size: str, document: Mapping[str, Any] | None) -> str:
    """The plain answer of a size, tied networks first, as Markdown."""
    where = f'**{"Narrow" if plan.SIZES[size].narrow else "Full-width"} networks ({size}).**'
    if document is None:
        return f'{where} No runs of this size were made, so nothing is said about them.'
    base = document['models'][document['baseline']]['title']
    models = [each for each in document['models'].values() if each.get('against', {}).get('seeds')]
    if not any(each['tied'] for each in models):
        return f'{where} No tied network has been trained beside {base} yet.'
    lines = [f'{where} Against {base}, in points of AP (of 100):', '']
    lines += [f'- {_sentence(each)}' for each in models if each['tied']]
    others = [f'{each["title"]} {each["against"]["slope"]["verdict"]}' for each in models if not each['tied']]
    if others:
        lines += ['', f'The same question of the others, about which the article says nothing: {"; ".join(others)}.']
    return '\n'.join(lines)


def _sentence(model: Mapping[str, Any]) -> str:
    slope, overall = model['against']['slope'], model['against']['overall']
    return (
        f'{model["title"]}, {count(slope["seeds"], "seed")}: {CLAIM[slope["verdict"]]}. From r = 0 to r = 1 its '
        f'difference would change by {_sure(slope)}{needed(slope)}. Over all images {WHOLE[overall["verdict"]]}: '
        f'{_sure(overall)}{needed(overall)}.'
    )


def _sure(found: Mapping[str, Any]) -> str:
    p = p_value(found['p'])
    return change(found) if found['p'] is None else f'{change(found)} (p {p if p.startswith("<") else f"= {p}"})'
