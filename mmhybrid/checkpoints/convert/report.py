"""What a conversion did, for the terminal and for the card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhybrid.version import __version__
from mmhybrid.zoo import VARIANTS

from .targets import kind_of

if TYPE_CHECKING:
    from .core import Converted

# The images that the weights take: those of the configs here, and of torchvision's and most of timm's ResNets.
INPUT = 'RGB, mean (123.675, 116.28, 103.53), standard deviation (58.395, 57.12, 57.375)'
UNSTATED = 'not stated'
RES2NET = (
    "The source is taken as MMDetection's Res2Net computes it. The authors', timm's and mmpretrain's pool the last "
    'split of the very first block, too, which changes the maps by some percent.'
)
_SHOWN = 3
# Arguments of a config's backbone that are about a run, not about its weights.
_RUN = ('init_cfg', 'pretrained', 'frozen_stages', 'norm_eval', 'out_indices', 'with_cp')


def lines(made: Converted, source: str, licences: Sequence[str] = ()) -> list[str]:
    """The report: a table of the tensors, then sentences."""
    rows = [('copied', len(made.copied), _list(made.copied))]
    if made.changed:
        rows.append(('of them changed', len(made.changed), _list(made.changed)))
    rows += [('new', len(names), what) for what, names in made.new.items()]
    if made.left_out:
        rows.append(('left out', len(made.left_out), _list(made.left_out)))
    table = [f'{title:<16}{count:>7,}  {text}' for title, count, text in rows]
    licence = '; '.join(filter(None, (made.licence, *licences)))
    return [
        f'{source} (of {made.source}) for {made.name}: {made.parameters:,} parameters',
        '',
        f'{"":<16}tensors',
        *table,
        '',
        equality(made),
        *([RES2NET] if made.source.startswith('Res2Net') else []),
        f'Images: {INPUT}, as the configs here give them; see whether the source was trained so.',
        f'Licence: {licence or UNSTATED + "; look where the source comes from, and give it with --licence"}.',
    ]


def equality(made: Converted) -> str:
    """How the feature maps compare with the source's, one sentence."""
    if made.deviation is None:
        return 'Every tensor is one of the source; there is no other network of which to compare feature maps.'
    if made.deviation == 0:
        return "The feature maps in evaluation are the source's to the bit (one image of noise, 64x64)."
    if made.config.get('shortcut') == 'identity_dense':
        return (
            'The feature maps are NOT those of the source: plain sums of all earlier outputs, which have no weights, '
            f'take the place of the identity. They differ by up to {made.deviation:.2g} times the largest value '
            '(one image of noise, 64x64).'
        )
    return (
        "The feature maps in evaluation are the source's up to rounding: they differ by at most "
        f'{made.deviation:.1e} of the largest value (one image of noise, 64x64).'
    )


def card(
    made: Converted,
    source: Path,
    licences: Sequence[str] = (),
    data: str | None = None,
    commit: str | None = None,
) -> dict[str, Any]:
    """The card's facts; what nobody measured or said is None."""
    named = made.name in VARIANTS
    options = {} if named else {key: value for key, value in made.config.items() if key not in ('type', *_RUN)}
    return dict(
        variant=made.name if named else None,
        type=kind_of(made.config),
        options=options,
        data=data,
        recipe='none: converted, not trained',
        epochs=None,
        top1=None,
        commit=commit,
        licence='; '.join(filter(None, (made.licence, *licences))) or None,
        source=f'{source.name} (of {made.source}, sha256 {made.sha256})',
        parameters=made.parameters,
        created_by=f'mmhybrid {__version__} convert',
        warm_start=dict(
            copied=len(made.copied),
            changed=len(made.changed),
            new={what: len(names) for what, names in made.new.items()},
            left_out=list(made.left_out),
            deviation=made.deviation,
            equality=equality(made),
            images=INPUT,
        ),
    )


def _list(names: Sequence[str] | Mapping[str, Any]) -> str:
    names = list(names)
    more = len(names) - _SHOWN
    return ', '.join(names[:_SHOWN]) + (f' and {more:,} more' if more > 0 else '')
