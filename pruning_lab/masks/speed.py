"""Whether fewer weights are faster: a net of linear layers dense, masked, in compressed rows (CSR), and one that is
really smaller.
"""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pandas as pd
import torch
from torch import Tensor, nn

from ..nets import layers
from ..nets.given import check_batches, check_seed
from ..nets.surgery import copied
from .compare import check

WARM = 3  # untimed batches before the first timed one
# share of the largest output by which compressed rows may differ from the masked net: TensorFloat-32 may be on
TOLERANCE = 1e-3


class SparseLinear(nn.Module):
    """A linear layer for inference that stores of its weight [outputs, inputs] only what a mask keeps: values, columns,
    row pointers.

    Indices are of 32 bits, and outputs are computed as weight times images, transposed: on a CPU that is several times
    faster than `torch.nn.functional.linear` with the same weight, and stays so along the layers without a copy in
    between.

    ValueError: images that are not [images, inputs].

    >>> import torch
    >>> from pruning_lab import masks
    >>> layer = torch.nn.Linear(3, 2)
    >>> sparse = masks.SparseLinear(layer, torch.tensor([[True, False, False], [False, False, True]]))
    >>> [len(part) for part in sparse.stored()]  # values, columns, row pointers
    [2, 2, 3]
    >>> sparse(torch.ones(4, 3)).shape
    torch.Size([4, 2])
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear, mask: Tensor) -> None:
        super().__init__()
        _check_layer(layer, mask)
        mask, dense = mask.to(layer.weight.device), layer.weight.detach()
        rows = torch.cat([mask.new_zeros(1, dtype=torch.int32), mask.sum(1).cumsum(0).int()])
        columns = mask.nonzero()[:, 1].int()
        with _beta():
            weight = torch.sparse_csr_tensor(rows, columns, dense[mask], dense.shape, check_invariants=True)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """[images, inputs] to [images, outputs]."""
        if x.ndim != 2:
            raise ValueError(f"compressed rows read [images, {self.weight.shape[1]}], not {list(x.shape)}: flatten it")
        if self.bias is None:
            return (self.weight @ x.T).T
        if len(x) == 1:  # as a vector: twice as fast as a matrix of one column
            return torch.addmv(self.bias, self.weight, x[0])[None]
        return torch.addmm(self.bias[:, None], self.weight, x.T).T

    def stored(self) -> list[Tensor]:
        """All that is stored of the weight: values [kept], columns [kept], row pointers [outputs + 1]."""
        return [self.weight.values(), self.weight.col_indices(), self.weight.crow_indices()]


def _check_layer(layer: nn.Linear, mask: Tensor) -> None:
    """ValueError unless it is a linear layer whose weight is its own, and the mask is one of that weight."""
    if not isinstance(layer, nn.Linear):
        raise ValueError(f"the layer is a {type(layer).__name__}: expected an nn.Linear")
    layers.check_plain(layer, "the layer")
    check(layer, {"weight": mask})


def sparse(model: nn.Module, masks: Mapping[str, Tensor]) -> nn.Module:
    """A copy for inference, its masked layers `SparseLinear`s; outputs are the masked net's. Others stay dense.

    Masks are by the weights' names and in their shapes [outputs, inputs]. A weight that several layers share is masked
    in all of them. What a mask keeps is stored, be it zero or not.
    ValueError: a model with other layers than linear ones, masked ones that compute in a way of their own or have
    hooks, masks of other names or shapes or none at all, a device other than a CPU or a CUDA GPU.

    >>> import torch
    >>> from pruning_lab import masks, models
    >>> net = models.build("mlp", (1, 8, 8), width=4, hidden=1)
    >>> small = masks.sparse(net, masks.random(net, density=0.5))
    >>> type(small.fc1).__name__
    'SparseLinear'
    >>> small(torch.ones(2, 1, 8, 8)).shape
    torch.Size([2, 10])
    """
    linear = _layers(model)
    check(model, masks)
    if not masks:
        raise ValueError(f"no masks: expected some for {[f'{name}.weight' for name in linear]}")
    if (kind := next(model.parameters()).device.type) not in ("cpu", "cuda"):
        raise ValueError(
            f"compressed rows are not computed on {kind!r}: move the model to a CPU or CUDA, "
            "as PRUNING_LAB_DEVICE=cpu does"
        )
    layers.check_copy(model)
    places = {name: _places(model, linear[name.removesuffix(".weight")]) for name in masks}
    layers.check(model, [place for several in places.values() for place in several], shared=False)
    compressed = copied(model).eval()
    for name, mask in masks.items():
        made: dict[nn.Module, SparseLinear] = {}
        for place in places[name]:
            layer = model.get_submodule(place)
            compressed.set_submodule(place, made.setdefault(layer, SparseLinear(layer, mask)))
    return compressed


def _places(model: nn.Module, layer: nn.Linear) -> list[str]:
    """All names of the layers that have this one's weight; ValueError where another one lies in the same memory."""
    linear = {n: m for n, m in model.named_modules(remove_duplicate=False) if isinstance(m, nn.Linear)}
    if beside := [n for n, m in linear.items() if m.weight is not layer.weight
                  and layers.overlap(m.weight, layer.weight)]:  # fmt: skip
        raise ValueError(f"the weight of {beside[0]!r} shares memory with another one: give it its own (.clone())")
    return [name for name, m in linear.items() if m.weight is layer.weight]


def inference(
    model: nn.Module,
    masks: Mapping[str, Tensor],
    smaller: nn.Module,
    batches: Sequence[int] = (1, 32, 1000),
    *,
    rounds: int = 30,
    seed: int = 0,
) -> pd.DataFrame:
    """Size and time of four nets that infer: one row a net and batch size.

    The nets are copies of `model`: "dense", "masked" (zeros stay in place and are multiplied) and "csr" (`sparse`); and
    "smaller", any other net of linear layers with the same inputs and outputs, such as one with as many weights as the
    masks keep. All lie on the model's device. In each round every net has its turn, the first another one each time:
    one batch untimed, so that its weights are in the caches again, and one timed, from images on the device to outputs
    there; on a GPU both ends are waited for. Images are noise, [batch, inputs], by `seed`. Weights need no training:
    time does not depend on their values.

    Columns: net, batch; parameters stored (weights, biases; zeros too); multiplications of one image that are carried
    out; bytes of these parameters, columns and row pointers of CSR among them; milliseconds for a batch, the median
    over rounds, and its quartiles low and high; of_dense, the median over rounds of the time over the dense net's;
    device; threads, of the CPU.

    ValueError: as for `sparse`; nets that do not have the same inputs and outputs; batches or rounds below 1.
    AssertionError: outputs of "csr" are not those of "masked".

    >>> from pruning_lab import masks, models
    >>> wide, narrow = (models.build("mlp", (1, 8, 8), width=w, hidden=1) for w in (8, 4))
    >>> table = masks.inference(wide, masks.random(wide, density=0.5), narrow, batches=(1,), rounds=1)
    >>> table[["net", "parameters"]].values.tolist()
    [['dense', 610], ['masked', 610], ['csr', 314], ['smaller', 310]]
    """
    check_seed(seed)
    check_batches(batches, rounds)
    nets, like = _nets(model, masks, smaller), next(model.parameters())
    tables = []
    for batch in batches:
        images = torch.randn(batch, _ends(model)[0], generator=torch.Generator().manual_seed(int(seed)))
        with torch.inference_mode():
            times = _milliseconds(nets, images.to(like.device, like.dtype), rounds)
        tables.append(_table(nets, batch, times))
    return pd.concat(tables, ignore_index=True).assign(device=like.device.type, threads=torch.get_num_threads())


def _table(nets: Mapping[str, nn.Module], batch: int, times: pd.DataFrame) -> pd.DataFrame:
    """Sizes and times of the nets at one batch size, a row a net."""
    sizes = pd.DataFrame([dict(net=name, batch=batch) | _size(net) for name, net in nets.items()])
    quartiles = times.quantile([0.5, 0.25, 0.75]).T.set_axis(["milliseconds", "low", "high"], axis=1)
    ratios = times.div(times.dense, axis=0).median()
    return sizes.join(quartiles.assign(of_dense=ratios), on="net")


@contextmanager
def _beta() -> Iterator[None]:
    """Torch's remark that CSR tensors are in beta is not passed on."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta state", UserWarning)
        yield


def _layers(model: nn.Module) -> dict[str, nn.Linear]:
    """The linear layers by name, in order; ValueError unless these alone have parameters, and plain ones."""
    layers.check_model(model, values=False)
    own = {name: m for name, m in model.named_modules() if next(m.parameters(recurse=False), None) is not None}
    if not own or any(not name or not isinstance(m, nn.Linear) for name, m in own.items()):
        there = ", ".join(f"{name} {type(m).__name__}".strip() for name, m in own.items())
        raise ValueError(
            f"layers with parameters: {there or 'none'}; expected linear ones alone, as in models.build('mlp', ...)"
        )
    if computed := [name for name, m in own.items() if "weight" not in m._parameters]:
        raise ValueError(
            f"weights of {computed} are computed from others: make them plain, as torch.nn.utils.prune.remove does"
        )
    return own


def _ends(model: nn.Module) -> tuple[int, int]:
    """Inputs of the first layer and outputs of the last."""
    linear = list(_layers(model).values())
    return linear[0].in_features, linear[-1].out_features


def _nets(model: nn.Module, masks: Mapping[str, Tensor], smaller: nn.Module) -> dict[str, nn.Module]:
    """The four nets by name, copies in evaluation mode on the model's device."""
    if _ends(model) != _ends(smaller):
        raise ValueError(
            f"the smaller net has {_ends(smaller)} inputs and outputs: expected {_ends(model)}, those of the model"
        )
    layers.check_model(smaller)
    layers.check_copy(smaller)
    csr, masked = sparse(model, masks), copied(model).eval()
    with torch.no_grad():
        for name, mask in masks.items():
            weight = masked.get_parameter(name)
            weight.masked_fill_(~mask.to(weight.device), 0.0)
    smaller = copied(smaller).to(next(model.parameters())).eval()
    return dict(dense=copied(model).eval(), masked=masked, csr=csr, smaller=smaller)


def _size(net: nn.Module) -> dict[str, int]:
    """Parameters stored, multiplications of one image and bytes; see `inference`."""
    kinds = [m for m in net.modules() if isinstance(m, nn.Linear | SparseLinear)]
    weights = [m.stored() if isinstance(m, SparseLinear) else [m.weight] for m in kinds]
    stored = {id(t): t for parts in weights for t in parts}  # a weight that layers share is stored once
    stored |= {id(m.bias): m.bias for m in kinds if m.bias is not None}
    calls = _calls(net, kinds)
    multiplications = sum(values.numel() * calls[m] for m, (values, *_) in zip(kinds, weights, strict=True))
    numbers = {id(parts[0]) for parts in weights} | {id(m.bias) for m in kinds if m.bias is not None}
    return dict(
        parameters=sum(t.numel() for key, t in stored.items() if key in numbers),
        multiplications=multiplications,
        bytes=sum(t.numel() * t.element_size() for t in stored.values()),
    )


def _calls(net: nn.Module, kinds: Sequence[nn.Module]) -> dict[nn.Module, int]:
    """How often each layer reads one row of numbers when one image passes."""
    counts = dict.fromkeys(kinds, 0)

    def count(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        counts[layer] += given[0].shape[:-1].numel()

    hooks = [layer.register_forward_pre_hook(count) for layer in kinds]
    try:
        first = kinds[0].weight
        with torch.inference_mode():
            net(torch.zeros(1, first.shape[1], device=first.device, dtype=first.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def _milliseconds(nets: Mapping[str, nn.Module], images: Tensor, rounds: int) -> pd.DataFrame:
    """Milliseconds of one batch, a row a round and a column a net."""
    _check_outputs(nets["masked"](images), nets["csr"](images))
    for net in [*nets.values()] * WARM:
        net(images)
    names, timed = list(nets), []
    for k in range(rounds):
        turn = k % len(names)
        timed.append({name: _timed(nets[name], images) for name in names[turn:] + names[:turn]})
    return pd.DataFrame(timed, columns=names)


def _timed(net: nn.Module, images: Tensor) -> float:
    net(images)
    _wait(images.device)
    start = time.perf_counter()
    net(images)
    _wait(images.device)
    return 1e3 * (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    """Until a GPU has done all that it was given; a CPU has when a call returns."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check_outputs(masked: Tensor, csr: Tensor) -> None:
    far, size = float((masked - csr).abs().max()), float(masked.abs().max())
    if not far <= TOLERANCE * size:
        raise AssertionError(
            f"outputs of compressed rows differ from the masked net's by {far:.2g}, these being at most {size:.2g}"
        )
