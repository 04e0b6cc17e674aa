"""Colours of the report, once for light and once for dark surroundings.

Models and error kinds take hues after Okabe and Ito, which every common colour-vision deficiency tells apart, darkened
or lightened until text has a contrast of 4.5:1 and lines one of 3:1 to their ground (WCAG 2.2, AA). Colour never
stands alone: models also have a marker and a dash, kinds an order and a gap.
"""

from __future__ import annotations

PAGE = {
    'ground': ('#ffffff', '#14181d'),
    'panel': ('#f4f6f8', '#1c2229'),
    'ink': ('#1b1f24', '#e6e9ed'),
    'muted': ('#57606a', '#a3adb8'),
    'line': ('#d0d7de', '#39424c'),
    'link': ('#0a58a8', '#7cb8f5'),
}
SERIES = (
    ('#0072b2', '#56b4e9'),
    ('#b84a00', '#f0a030'),
    ('#007a5a', '#35c79a'),
    ('#a0447a', '#e08fc0'),
    ('#3d4650', '#d5dbe2'),
    ('#6a51c4', '#a99bf0'),
)
DASHES = ('', '7 4', '2 3', '9 3 2 3')
KINDS = {
    'duplicate': ('#0072b2', '#56b4e9'),
    'confusion': ('#c45500', '#f0a030'),
    'partial': ('#008a66', '#35c79a'),
    'background': ('#8a4a78', '#d79ac4'),
}
# Over photographs, where no ground is known: bright, on a dark outline.
PICTURE = {
    'found': '#3ddc6c',
    'missed': '#ff4d4d',
    'true_positive': '#56b4e9',
    'duplicate': '#f7e84a',
    'confusion': '#ff9f1c',
    'partial': '#e9a6ff',
    'background': '#ffffff',
}


def css() -> str:
    """The colours as variables, and the classes of models and kinds.

    They are dark where the reader's system is, light elsewhere and in print.
    """
    names = {f'--{name}': pair for name, pair in PAGE.items()}
    names |= {f'--series-{i}': pair for i, pair in enumerate(SERIES)}
    names |= {f'--{kind}': pair for kind, pair in KINDS.items()}
    light, dark = (''.join(f'{name}:{pair[which]};' for name, pair in names.items()).rstrip(';') for which in (0, 1))
    classes = ''.join(f'.series-{i}{{color:var(--series-{i})}}' for i in range(len(SERIES)))
    classes += ''.join(f'.kind-{kind}{{fill:var(--{kind});stroke:var(--{kind});stroke-width:0}}' for kind in KINDS)
    return (
        f':root{{color-scheme:light;{light}}}\n@media screen and (prefers-color-scheme:dark)'
        f'{{:root{{color-scheme:dark;{dark}}}}}\n'
        f'{classes}\n'
    )
