"""Why a model fails on samples, in one sentence: which layer was given what, and what it takes."""

from torch import Tensor, nn

from .calls import Call


def why(model: nn.Module, images: Tensor, begun: list[Call], error: Exception) -> str:
    """What was wrong with `images` or a layer; `begun` are the calls that have not ended, the innermost last."""
    start = f"the model fails on {len(images)} samples {list(images.shape)}"
    given = next((leaf for leaf in begun[-1].read if isinstance(leaf, Tensor)), None) if begun else None
    if given is None:
        return f"{start}: {error}"
    module = begun[-1].module
    name = next(name for name, m in model.named_modules() if m is module)
    layer = f"{name!r} ({type(module).__name__})" if name else type(module).__name__
    reason = _kind(module, given, layer) or _width(module, given, layer)
    return f"{start}: {reason or error}" if reason or module is model else f"{start}, at {layer}: {error}"


def _kind(module: nn.Module, given: Tensor, layer: str) -> str | None:
    kind = str(given.dtype).removeprefix("torch.")
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        wrong = given.is_floating_point() or given.is_complex()
        return f"{layer} is given {kind}: expected whole numbers (images.long())" if wrong else None
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or given.is_floating_point():
        return None
    return f"{layer} is given {kind}: expected floating-point numbers (from bytes: images.float() / 255)"


def _width(module: nn.Module, given: Tensor, layer: str) -> str | None:
    if isinstance(module, nn.Linear):
        got, takes, what = given.shape[-1], module.in_features, "inputs a sample or token"
    elif isinstance(module, nn.modules.conv._ConvNd) and given.ndim == module.weight.ndim:
        got, takes, what = given.shape[1], module.in_channels, "channels"
    else:
        return None
    if got == takes:
        return None
    return f"{layer} is given {got} {what}: expected {takes}; give images of the size that the model was built for"
