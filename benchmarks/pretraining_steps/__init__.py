"""Does pre-training help the demo's detector: on what, how the backbones are trained, and what follows."""
