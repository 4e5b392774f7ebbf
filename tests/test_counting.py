"""Multiply-adds of one image: every kind of layer and of product, the published nets as ever, and what cannot run."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from pruning_lab import masks
from pruning_lab.nets import counting, models


def from_sizes(model, shape):
    """As published: what linear layers and convolutions multiply, from their sizes while the net runs."""
    counts, model = [], copy.deepcopy(model).to("meta").eval()
    for m in model.modules():
        if isinstance(m, nn.Linear | nn.Conv2d):
            m.register_forward_hook(lambda m, _, out: counts.append(m.weight[0].numel() * out.numel()))
    model(torch.empty(1, *shape, device="meta"))
    return sum(counts)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 32, 48)], ids=str)
@pytest.mark.parametrize("name", models.MODELS)
def test_the_numbers_of_the_published_nets_are_those_of_their_sizes(name, shape):
    model = models.build(name, shape, width=16)
    assert models.multiplications(model, shape) == from_sizes(model, shape)


class Does(nn.Module):
    """Computes as it is told, with two weights [5, 12] and [12] of its own."""

    def __init__(self, forward):
        super().__init__()
        self.does, self.w, self.v = forward, nn.Parameter(torch.randn(5, 12)), nn.Parameter(torch.randn(12))

    def forward(self, x):
        return self.does(self.w, self.v, x.flatten(1))


PRODUCTS = {
    "F.linear": (lambda w, v, x: F.linear(x, w), 60),
    "matmul": (lambda w, v, x: x @ w.T, 60),
    "matmul with a vector": (lambda w, v, x: x @ v, 12),
    "of a vector": (lambda w, v, x: w @ x[0], 60),
    "einsum": (lambda w, v, x: torch.einsum("ni,oi->no", x, w), 60),
    "addmm": (lambda w, v, x: torch.addmm(x.new_zeros(1, 5), x, w.T), 60),
    "addmv": (lambda w, v, x: torch.addmv(x.new_zeros(5), w, x[0]), 60),
    "addbmm": (lambda w, v, x: torch.addbmm(x.new_zeros(1, 5), x[None], w.T[None]), 60),
    "baddbmm": (lambda w, v, x: torch.baddbmm(x.new_zeros(1, 1, 5), x[None], w.T[None]), 60),
    "dot": (lambda w, v, x: torch.dot(x[0], v), 12),
    "vdot": (lambda w, v, x: torch.vdot(x[0], v), 12),
    "a bilinear form": (lambda w, v, x: F.bilinear(x[:, :3], x[:, :4], w.view(5, 3, 4)), 5 * 3 * 4 + 5 * 3),
    "numbers one by one": (lambda w, v, x: x * v + v, 0),
    "attention in one call": (lambda w, v, x: F.scaled_dot_product_attention(*[x.view(1, 1, 3, 4)] * 3), 0),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_in_a_forward_of_one_s_own_are_counted(name):
    forward, expected = PRODUCTS[name]
    assert models.multiplications(Does(forward), (3, 2, 2)) == expected
    needs = Does(lambda w, v, x: forward(w, v, x) if x.sum() < 1 else None)  # which has no answer without numbers
    assert models.multiplications(needs, (3, 2, 2)) == expected


class Attends(nn.Module):
    def __init__(self, **how):
        super().__init__()
        self.attention, self.how = nn.MultiheadAttention(8, 2, batch_first=True), how

    def forward(self, x):
        return self.attention(x, x, x, **self.how)[0]


LAYERS = {
    "transposed": (nn.ConvTranspose2d(3, 4, 2, stride=2), (3, 4, 4), 3 * 4 * 4 * 16),
    "transposed, in groups": (nn.ConvTranspose1d(4, 6, 3, groups=2), (4, 5), 4 * 3 * 3 * 5),
    "in one dimension": (nn.Conv1d(3, 4, 3), (3, 16), 4 * 14 * 9),
    "in three": (nn.Conv3d(1, 2, 2), (1, 3, 4, 4), 2 * 2 * 3 * 3 * 8),
    "in groups": (nn.Conv2d(4, 8, 3, groups=2), (4, 5, 5), 8 * 9 * 18),
    "dilated, circular": (nn.Conv2d(3, 4, 3, padding=2, dilation=2, padding_mode="circular"), (3, 5, 5), 4 * 25 * 27),
    "attention": (Attends(), (16, 8), 16 * (3 * 64 + 64) + 2 * 16 * 16 * 8),
    "attention without its weights": (Attends(need_weights=False), (16, 8), 16 * (3 * 64 + 64) + 2 * 16 * 16 * 8),
    "a transformer's": (nn.TransformerEncoderLayer(8, 2, 32, batch_first=True), (16, 8),
                        16 * (4 * 64 + 2 * 8 * 32) + 2 * 16 * 16 * 8),
    "recurrent": (nn.LSTM(4, 6), (5, 4), 5 * 4 * 6 * (4 + 6)),
    "double": (nn.Conv2d(3, 4, 3).double(), (3, 6, 6), 4 * 16 * 27),
    "half": (nn.Linear(8, 3).half(), (8,), 24),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_every_kind_are_counted_with_and_without_numbers(name):
    layer, shape, expected = LAYERS[name]
    assert models.multiplications(layer, shape) == expected

    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.inside = layer

        def forward(self, x):
            return self.inside(x) if x.sum() < 1 else None

    state = torch.get_rng_state()
    assert models.multiplications(Asks(), shape) == expected and torch.equal(state, torch.get_rng_state())


def test_compressed_rows_multiply_what_they_store():
    model = models.build("mlp", (1, 4, 4), width=8)
    kept = masks.build(masks.scores(model, "magnitude"), 0.3)
    assert models.multiplications(masks.sparse(model, kept), (1, 4, 4)) == masks.counts(model, kept)["kept"]


@pytest.mark.parametrize("norm", ["spectral_norm", "weight_norm", "orthogonal"])
def test_how_a_weight_is_made_is_not_counted_and_no_step_is_taken(norm):
    model = nn.Sequential(getattr(parametrizations, norm)(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert models.multiplications(model, (8,)) == 66
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training


def test_how_an_old_spectral_norm_makes_a_weight_is_not_counted_either():
    model = nn.Sequential(nn.utils.spectral_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert models.multiplications(model, (8,)) == 66
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model[0]._forward_pre_hooks


class Made(nn.Module):
    """Holds a tensor that is no buffer, and makes another."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale = nn.Linear(3, 2), torch.full((3,), 2.0)

    def forward(self, x):
        return self.layer(x.mean((2, 3)) * self.scale + torch.ones(3))


def test_a_net_that_holds_and_makes_tensors_is_counted_without_numbers(monkeypatch):
    monkeypatch.setattr(counting, "_with_numbers", lambda *_: pytest.fail("numbers were needed"))
    assert models.multiplications(Made(), (3, 4, 4)) == 6


@pytest.mark.parametrize(
    "shape", [None, 3, "abc", (), (3, 6.5, 6), (3, True, 6), (0, 6, 6), (-3, 6, 6), (3, "6", 6), {3, 6}], ids=str
)
def test_what_is_no_shape_of_an_image_is_refused(shape):
    with pytest.raises(
        ValueError, match=r"in_shape(\[\d\])?=.*: expected (the sizes of one image|a whole number, 1 or)"
    ):
        models.multiplications(nn.Conv2d(3, 4, 3), shape)


def test_a_net_that_does_not_run_on_such_an_image_is_refused_in_one_sentence():
    locked = nn.Sequential(nn.Linear(8, 3))
    locked.lock = threading.Lock()
    asks = Does(lambda w, v, x: x.sum().item() * w)
    for model, shape in [
        (nn.Conv2d(3, 4, 3), (1, 6, 6)),
        (nn.Conv2d(3, 4, 3), (3, 2, 2)),
        (nn.Conv2d(3, 4, 3), (3, 6)),
        (nn.Embedding(5, 3), (4,)),
        (nn.Sequential(nn.Linear(8, 6), nn.Linear(5, 3)), (8,)),
        (locked, (8,)),
        (asks.to("meta"), (3, 2, 2)),
    ]:
        with pytest.raises(ValueError, match=r"does not run on one image of shape .*: expected the \(channels") as told:
            models.multiplications(model, shape)
        assert "\n" not in str(told.value) and len(str(told.value)) < 300


@pytest.mark.parametrize("call", [lambda m: models.multiplications(m, (8,)), models.weight_count])
def test_what_is_no_model_is_refused(call):
    for wrong in (None, 5, {}, nn.Linear(2, 2).state_dict(), nn.Linear):
        with pytest.raises(ValueError, match="model is a .*: expected an nn.Module"):
            call(wrong)


def test_weights_are_counted_of_layers_that_have_some():
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert models.weight_count(model) == 48 + 18
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    for kind in ("Linear", nn.ReLU, None):
        with pytest.raises(ValueError, match="kind=.*: expected classes of layers that have a weight"):
            models.weight_count(model, kind)
