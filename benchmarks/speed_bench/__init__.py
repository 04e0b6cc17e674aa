"""How fast layers, backbones and detectors are: what is measured, how, and the page made from it."""
