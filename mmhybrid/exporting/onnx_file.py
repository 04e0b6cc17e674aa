"""A part of a detector as an ONNX file."""

from __future__ import annotations

import inspect
import io
import json
import warnings
from collections.abc import Sequence
from typing import Any

import onnx
import torch
from torch import Tensor

from mmhybrid.version import __version__

from .parts import Part


def to_onnx(part: Part, image: Tensor, opset: int, classes: Sequence[str]) -> bytes:
    """Trace a part and return the file.

    Height and width of its input are free. Class names and what the input has to be are among its metadata.

    Args:
        part: What is exported.
        image: The image with which it is traced, (1, 3, height, width).
        opset: ONNX's version of the operators.
        classes: Names of the classes.
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
    model = onnx.load_from_string(file.getvalue())
    onnx.checker.check_model(model)
    meta = dict(
        created_by=f'mmhybrid {__version__}',
        part=part.part,
        classes=json.dumps(list(classes), ensure_ascii=False),
        image='BGR, 0 to 255, float32, one at a time, at the size at which the detector is to see it',
    )
    onnx.helper.set_model_props(model, meta)
    return model.SerializeToString()
