"""A stem for small pictures, as of 32x32 pixels, in place of one that leaves an eighth of ImageNet's 224 and less."""

from torch import nn

from mmhybrid.errors import InputError

OWN, SMALL = 'backbone', '32x32'


def fit_stem(backbone: nn.Module, stem: str) -> list[str]:
    """Change a backbone's stem in place, before its weights are initialised.

    ``'backbone'`` leaves it as it is. ``'32x32'`` makes it keep the picture's size: the first convolution gets stride
    1, a 7x7 one becomes a 3x3, and the max pooling is left out. A stem that has stride 1, as that of HCGNet's CIFAR
    variants, stays.

    Args:
        backbone: A ResNet of MMDetection's kind, or HCGNet.
        stem: ``'backbone'`` or ``'32x32'``.

    Returns:
        Names of the weights whose shape is another one now, so that they fit no unchanged backbone; none or the first
        convolution's.

    Raises:
        InputError: If there is no such stem, or this backbone has another kind.
    """
    if stem == OWN:
        return []
    if stem != SMALL:
        raise InputError(f'model.stem is {stem!r}: choose {OWN!r} or {SMALL!r}.')
    parent, name = (backbone, 'conv1') if hasattr(backbone, 'conv1') else (getattr(backbone, 'stem', None), '0')
    conv = getattr(parent, name, None)
    if not isinstance(conv, nn.Conv2d):
        raise InputError(
            f'{type(backbone).__name__} has no stem that this can change; use model.stem={OWN!r} and a larger '
            'image_size.'
        )
    for module in (backbone, parent):
        pools = [key for key, child in module.named_children() if isinstance(child, nn.MaxPool2d)]
        for key in pools:
            setattr(module, key, nn.Identity())
    if conv.kernel_size == (3, 3):
        conv.stride = (1, 1)
        return []
    setattr(parent, name, nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, bias=conv.bias is not None))
    return ['conv1.weight' if parent is backbone else 'stem.0.weight']
