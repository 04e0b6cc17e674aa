"""A part of a detector as an ONNX file."""

from __future__ import annotations

import inspect
import io
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor

from mmhybrid.errors import InputError
from mmhybrid.guards import type_name
from mmhybrid.version import __version__

from .parts import Part

# Transforms of a test pipeline that leave the size of a picture as it is.
_KEEP_SIZE = ('LoadImageFromFile', 'LoadImageFromNDArray', 'LoadAnnotations', 'PackDetInputs', 'InferencerLoader')


def resizing(pipeline: Sequence[Mapping[str, Any]]) -> dict[str, Any] | str:
    """How a test pipeline resizes a picture.

    Args:
        pipeline: The config's.

    Returns:
        ``scale`` (two sides, of which the longer one is the bound of a picture's longer one) and ``keep_ratio`` of its
        ``Resize``, ``'none'`` without any, or ``'unknown'`` if it does anything else that may change the size.
    """
    others = [step for step in pipeline if type_name(step) not in _KEEP_SIZE]
    if not others:
        return 'none'
    options = {key: value for key, value in others[0].items() if key != 'type'}
    scale = options.pop('scale', None)
    keep_ratio = options.pop('keep_ratio', False)
    known = len(others) == 1 and type_name(others[0]) == 'Resize' and not options
    if not known or not isinstance(scale, int | Sequence) or isinstance(scale, str):
        return 'unknown'
    return dict(scale=[scale, scale] if isinstance(scale, int) else list(scale), keep_ratio=bool(keep_ratio))


def to_onnx(
    part: Part, image: Tensor, opset: int, classes: Sequence[str], resize: Mapping[str, Any] | str = 'unknown'
) -> bytes:
    """Trace a part and return the file.

    Height and width of its input are free. Class names and what the input has to be are among its metadata.

    Args:
        part: What is exported.
        image: The image with which it is traced, (1, 3, height, width).
        opset: ONNX's version of the operators.
        classes: Names of the classes.
        resize: How the test pipeline resizes pictures, of :func:`resizing`.

    Raises:
        InputError: If torch does not write this version.
    """
    names = part.output_names
    with torch.no_grad():
        outputs = part(image)
    axes: dict[str, dict[int, str]] = {'image': {2: 'height', 3: 'width'}}
    if not names:
        names = [f'features{i}' for i in range(len(outputs))]
        axes |= {name: {2: f'height{i}', 3: f'width{i}'} for i, name in enumerate(names)}
    else:
        axes |= {name: {0: 'detections'} for name in names}
    file = io.BytesIO()
    # torch before 2.5 has one exporter and no option for it.
    older: dict[str, Any] = {'dynamo': False} if 'dynamo' in inspect.signature(torch.onnx.export).parameters else {}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of what depends on the image, which another size checks
        try:
            torch.onnx.export(
                part,
                (image,),
                file,
                opset_version=opset,
                input_names=['image'],
                output_names=names,
                dynamic_axes=axes,
                **older,
            )
        except (RuntimeError, ValueError) as error:
            if not re.search('unsupported.*opset', str(error), re.IGNORECASE):
                raise
            raise InputError(f'--opset {opset} is too new for torch {torch.__version__}; give a smaller one.') from None
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    meta = dict(
        created_by=f'mmhybrid {__version__}',
        part=part.part,
        classes=json.dumps(list(classes), ensure_ascii=False),
        image='BGR, 0 to 255, float32, one at a time, at the size at which the detector is to see it',
        resize=json.dumps(resize),
    )
    onnx.helper.set_model_props(model, meta)
    return model.SerializeToString()
