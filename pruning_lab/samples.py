"""Samples that something is measured on: looked at before anything is computed with them, one sentence a fault."""

import torch
from torch import Tensor


def checked(split: object) -> tuple[Tensor, Tensor]:
    """The images and labels of a split; ValueError unless both are tensors [N, ...] of the same N, at least 1."""
    images, labels = getattr(split, "images", None), getattr(split, "labels", None)
    if (
        not isinstance(images, Tensor)
        or not isinstance(labels, Tensor)
        or images.ndim == 0
        or images.shape[:1] != labels.shape[:1]
    ):
        shapes = [list(t.shape) if isinstance(t, Tensor) else type(t).__name__ for t in (images, labels)]
        raise ValueError(
            f"split has images {shapes[0]} and labels {shapes[1]}: expected tensors [N, ...] of the same N"
        )
    if len(images) == 0:
        raise ValueError("split has no samples: expected at least one")
    for name, tensor in (("images", images), ("labels", labels)):
        _check_plain(tensor, name)
    return images, labels


def _check_plain(tensor: Tensor, name: str) -> None:
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        kind = "lie on the meta device, which holds no values" if tensor.is_meta else f"are stored as {tensor.layout}"
        raise ValueError(f"{name} {kind}: expected ordinary tensors (.to_dense(), .dequantize())")


def check_pictures(images: Tensor) -> None:
    """ValueError unless images are floating-point numbers, of whatever width."""
    if not images.is_floating_point():
        raise ValueError(
            f"images are {_kind(images)}: expected floating-point numbers, as data.load gives them (from bytes: "
            "images.float() / 255)"
        )


def check_logits(outputs: object, labels: Tensor, shares: bool = False, otherwise: str = "") -> None:
    """ValueError unless outputs are logits [n, classes] of two classes or more, and each label names one of these.

    `shares`: labels may be shares of the classes, [n, classes] floating-point. `otherwise` ends the sentence.
    """
    floating = labels.is_floating_point()
    if (
        not isinstance(outputs, Tensor)
        or outputs.ndim != 2
        or outputs.shape[1] < 2
        or (labels.ndim != 1 + (floating and shares))
    ):
        given = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        kind = f" {_kind(labels)}" if floating else ""
        raise ValueError(
            f"the model gives {given} for labels {list(labels.shape)}{kind}: "
            "expected logits [n, classes] of two classes or more and one label a sample, [n], a whole number "
            f"(labels.argmax(1) makes it from one column a class){otherwise}"
        )
    if floating and shares:
        return
    check_range(labels, outputs.shape[1], f"the model has {outputs.shape[1]} outputs")


def check_range(labels: Tensor, classes: int, because: str) -> None:
    """ValueError unless labels are whole numbers from 0 to `classes` - 1; on CUDA another one would end the process's
    use of the device.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.ndim != 1:
        raise ValueError(
            f"labels are {_kind(labels)} {list(labels.shape)}: expected whole numbers, one a sample, [N]; "
            "labels.long() makes them from floating-point numbers, and labels.argmax(1) from one column a class"
        )
    if classes < 1:
        raise ValueError(f"{because}: expected the names of some classes")
    whole = labels.long()  # torch has no least and largest of every type
    if whole.min() < 0 or whole.max() >= classes:
        raise ValueError(
            f"labels go from {int(whole.min())} to {int(whole.max())}, but {because}: expected 0 to {classes - 1}"
        )


def wide(tensor: Tensor) -> Tensor:
    """The same numbers in float32 where they are of half precision or less, in which sums overflow and round."""
    return tensor.float() if tensor.is_floating_point() and tensor.element_size() < 4 else tensor


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
