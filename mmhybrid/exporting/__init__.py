"""A detector, or its features, as ONNX: ``mmhybrid export``.

``operators.py`` has what ONNX and mmcv both have and torch's exporter does not connect, ``parts.py`` and ``heads.py``
compute what MMDetection computes in a form that can be traced, ``onnx_file.py`` writes, and ``checking.py`` compares
the file in onnxruntime with MMDetection.
"""

# Of a detector, what can be exported: each goes from the pixels to the end of the part.
PARTS = ('detector', 'neck', 'backbone')
