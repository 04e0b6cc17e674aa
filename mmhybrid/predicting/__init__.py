"""Detect on one's own pictures: what ``tools/predict.py`` does around MMDetection's ``DetInferencer``.

``pictures.py`` finds them, ``ids.py`` numbers them, ``detector.py`` runs the detector on batches, ``results.py`` writes
COCO's format, ``drawing.py`` draws.
"""
