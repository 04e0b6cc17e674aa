"""What is not of the page's own making: any text, and heavy imports."""

import re
import subprocess
import sys
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from mmhybrid.occlusion.show.report.page import _template
from mmhybrid.text import is_unsafe

from . import pages

ROOT = Path(__file__).parents[3]
PARAGRAPH = _template().environment.from_string('<!DOCTYPE html>\n<p title="{{ text }}">{{ text }}</p>')


def test_no_heavy_import_before_a_report_is_made():
    code = (
        'import sys; import mmhybrid.occlusion.show.report.page;'
        'sys.exit(", ".join(sorted({"torch", "mmdet", "matplotlib", "PIL", "jinja2"} & set(sys.modules))) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_text_survives_markup(text):
    made = PARAGRAPH.render(text=text)
    made.encode()  # lone surrogates cannot be
    node = pages.read(made).first('p')
    # Controls, and marks that turn the direction of writing, are shown as a sign; all else comes back.
    kept = ''.join('\ufffd' if is_unsafe(c) and c not in '\t\n' else c for c in text)
    kept = re.sub('[\ufdd0-\ufdef]', '\ufffd', ''.join('\ufffd' if ord(c) & 0xFFFE == 0xFFFE else c for c in kept))
    assert node.text == node.attributes['title'] == kept
