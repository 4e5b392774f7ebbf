"""A layer is not taken for its class and its `weight`: what is computed otherwise is read as it is, or refused before
anything is copied or changed.
"""

import contextlib
import copy
import io
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_between import net, split
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.nn.utils import spectral_norm as old_spectral_norm
from torch.nn.utils import weight_norm as old_weight_norm

from pruning_lab import masks, units
from pruning_lab.masks.weights import weights
from pruning_lab.nets import layers, models

ONES = torch.ones(6, 8, dtype=torch.bool)


class Halved(nn.Linear):
    """Computes with half of its weight."""

    def forward(self, x):
        return F.linear(x, self.weight / 2, self.bias)


class LoRA(nn.Linear):
    """Adds a product of two small matrices to its weight."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.down, self.up = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.down.T @ self.up.T


class Standardised(nn.Conv2d):
    """Overrides what a convolution does with its weight, not `forward`."""

    def _conv_forward(self, x, weight, bias):
        return super()._conv_forward(x, weight - weight.mean((1, 2, 3), keepdim=True), bias)


class OnTheFly(nn.Linear):
    """Has no weight of its own: it is a product, made anew each time it is asked for."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        del self._parameters["weight"]
        self.one, self.two = nn.Parameter(torch.randn(outputs, 2)), nn.Parameter(torch.randn(2, inputs))

    @property
    def weight(self):
        return self.one @ self.two


def with_own_method(module):
    """The same layer with a forward of its instance's own."""
    module.forward = lambda x: F.linear(x, -module.weight, module.bias)
    return module


def hooked(module, pre=False):
    if pre:
        module.register_forward_pre_hook(lambda _, given: (given[0] * 2,))
    else:
        module.register_forward_hook(lambda _, __, out: out * 2)
    return module


def pruned(module, attribute="weight"):
    prune.random_unstructured(module, attribute, 0.5)
    return module


def put(layer, place="2"):
    model = net()
    model.set_submodule(place, layer)
    return model


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    model[2].weight = model[0].weight
    return model


def one_memory():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    model[2].weight = nn.Parameter(model[0].weight.data.T)
    return model


REFUSED = {  # where the layer that reads the units, or the one that has them, is not what its class says
    "a subclass": (lambda: put(Halved(6, 5)), "'2', a Halved, computes in a way of its own .* put a plain nn.Linear"),
    "a subclass with more parameters": (lambda: put(LoRA(6, 5)), "'2', a LoRA, computes in a way of its own"),
    "a subclass that has the units": (lambda: put(LoRA(8, 6), "0"), "'0', a LoRA, computes in a way of its own"),
    "a forward of the instance": (
        lambda: put(with_own_method(nn.Linear(6, 5))),
        "'2', a Linear, computes in a way of its own",
    ),
    "a weight on the fly": (lambda: put(OnTheFly(6, 5)), "the weight of '2' is computed from others"),
    "a hook": (lambda: put(hooked(nn.Linear(6, 5))), "'2' has forward hooks .*, which may .*: take them"),
    "a hook before": (lambda: put(hooked(nn.Linear(6, 5), pre=True)), "'2' has forward hooks"),
    "a hook on the model": (lambda: hooked(net(), pre=True), "'the model' has forward hooks.*take them away first"),
    "a hook on a part": (lambda: nn.Sequential(hooked(net()[:2]), net()[2:]), "'0' has forward hooks"),
    "pruned": (lambda: put(pruned(nn.Linear(6, 5))), "weight of '2' is computed .*nn.utils.prune.remove"),
    "a pruned bias": (lambda: put(pruned(nn.Linear(8, 6), "bias"), "0"), "the bias of '0' is computed from others"),
    "parametrised": (lambda: put(parametrizations.weight_norm(nn.Linear(6, 5))), "'2' is .*remove_parametrizations"),
    "an old weight norm": (lambda: put(old_weight_norm(nn.Linear(6, 5))), "'2' is .*remove_weight_norm"),
    "an old spectral norm": (lambda: put(old_spectral_norm(nn.Linear(6, 5))), "'2' is .*remove_spectral_norm"),
    "tied": (lambda: tied(), "'0.weight' and '2.weight' are one weight or share memory: .*clone"),
    "one memory": (lambda: one_memory(), "'0.weight' and '2.weight' are one weight or share memory"),
}


@pytest.mark.parametrize(
    "register", [nn.modules.module.register_module_forward_hook, nn.modules.module.register_module_forward_pre_hook]
)
def test_hooks_of_all_modules_count_as_those_of_each(register):
    model, data = net(), split((8,))
    handle = register(lambda module, given, *_: None)
    try:
        for call in (
            lambda: units.pruning_curve(model, "0", range(6), data),
            lambda: units.scores(model, "0", "norm"),
            lambda: masks.sparse(model, {"0.weight": torch.ones(6, 8, dtype=torch.bool)}),
        ):
            with pytest.raises(ValueError, match="has forward hooks .its own, or those of all modules.*take them away"):
                call()
    finally:
        handle.remove()
    assert len(units.scores(model, "0", "norm")) == 6


@pytest.mark.filterwarnings("ignore:Complex modules")
def test_units_of_complex_weights_are_refused():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).to(torch.complex64)
    for call in (lambda: units.scores(model, "0", "norm"), lambda: units.remove(model, "0", [0])):
        with pytest.raises(ValueError, match="'0' has complex weights"):
            call()


def remembered(model):
    """Everything that a refused call must leave alone."""
    state = {k: v.clone() for k, v in model.state_dict().items()}
    return state, [(type(m), [*vars(m)], [*m._parameters], [*m._forward_pre_hooks]) for m in model.modules()]


def assert_unchanged(model, before):
    state, structure = remembered(model)
    assert structure == before[1] and state.keys() == before[0].keys()
    assert all(torch.equal(v, before[0][k]) for k, v in state.items())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", REFUSED)
def test_units_of_what_is_not_what_its_class_says_are_refused_by_every_call(name):
    made, message = REFUSED[name]
    model = made()
    layer = "0.0" if name == "a hook on a part" else "0"
    data, before = split((6 if name in ("tied", "one memory") else 8,)), remembered(model)
    for call in (
        lambda: units.order(model, layer, "norm"),
        lambda: units.scores(model, layer, "norm"),
        lambda: units.pruning_curve(model, layer, range(6), data),
        lambda: units.removal_losses(model, layer, data),
        lambda: units.class_activations(model, layer, data),
        lambda: units.remove(model, layer, [0]),
        lambda: units.zeroed(model, layer, [0]),
    ):
        with pytest.raises(ValueError, match=message):
            call()
        assert_unchanged(model, before)


def test_a_convolution_that_standardises_its_weight_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), Standardised(6, 4, 3), nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ValueError, match=r"'2', a Standardised, computes in a way of its own .* plain nn.Conv2d in"):
        units.pruning_curve(model, "0", range(6), split((1, 6, 6)))


def test_what_stands_elsewhere_may_be_anything():
    shared = Halved(5, 5)
    model = nn.Sequential(*net()[:3], shared, nn.Tanh(), shared, pruned(nn.Linear(5, 4)), hooked(LoRA(4, 3))).eval()
    data = split()
    single, curve = units.removal_losses(model, "0", data), units.pruning_curve(model, "0", range(6), data)
    assert curve.loss[0] == pytest.approx(F.cross_entropy(model(data.images), data.labels).item(), rel=1e-5)
    assert single.whole_loss == pytest.approx(float(curve.loss[0]), rel=1e-6)


def test_a_hook_on_the_layer_itself_is_part_of_what_is_measured_and_no_copy_is_made_of_it():
    model, data = hooked_first(), split()
    loss = F.cross_entropy(model(data.images), data.labels).item()
    assert units.pruning_curve(model, "0", range(6), data).loss[0] == pytest.approx(loss, rel=1e-5)
    for call in (units.remove, units.zeroed):
        with pytest.raises(ValueError, match="'0' has forward hooks"):
            call(model, "0", [1])


def hooked_first():
    model = net()
    hooked(model[0])
    return model


def test_a_net_with_a_pruned_layer_elsewhere_is_measured_but_not_copied():
    model = put(pruned(nn.Linear(5, 3)), "4")
    assert units.order(model, "0", "norm").shape == (6,)
    for call in (
        lambda: units.remove(model, "0", [1]),
        lambda: units.zeroed(model, "0", [1]),
        lambda: models.multiplications(model, (8,)),
    ):
        with pytest.raises(
            ValueError, match="the weight of '4' is computed from others: .*torch.nn.utils.prune.remove"
        ):
            call()
    with pytest.raises(ValueError, match="the bias of '2' is computed from others"):
        masks.sparse(put(pruned(nn.Linear(6, 5), "bias")), {"0.weight": ONES})
    prune.remove(model[4], "weight")
    assert models.multiplications(model, (8,)) == 48 + 30 + 15
    assert units.remove(model, "0", [1])(split().images).shape == (20, 3)


def test_a_module_that_holds_a_part_of_a_graph_is_named():
    model = net()
    model[1].seen = model(split().images)
    with pytest.raises(ValueError, match="'1' holds a tensor that is part of an autograd graph: detach it"):
        units.remove(model, "0", [1])


CALLS = {
    "scores": lambda model: masks.scores(model, "magnitude"),
    "random": lambda model: masks.random(model, 0.5),
    "order": lambda model: units.order(model, "0", "norm"),
    "curve": lambda model: units.pruning_curve(model, "0", range(6), split()),
    "remove": lambda model: units.remove(model, "0", [0]),
    "zeroed": lambda model: units.zeroed(model, "0", [0]),
}
SIZES = {
    "maskable": masks.maskable,
    "multiplications": lambda model: models.multiplications(model, (8,)),
    "to_torch": lambda model: masks.to_torch(model, {"0.weight": ONES}),
    "sparse": lambda model: masks.sparse(model, {"0.weight": ONES}),
    "counts": lambda model: masks.counts(model, {"0.weight": ONES}),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", CALLS | SIZES)
def test_a_scripted_a_traced_a_lazy_and_an_empty_model_are_refused_in_one_sentence(name):
    call = (CALLS | SIZES)[name]
    for model in (torch.jit.script(net()), torch.jit.trace(net(), torch.randn(2, 8))):
        with pytest.raises(ValueError, match=r"the model is scripted or traced \(torch.jit\), .*pass the module that"):
            call(model)
    with pytest.raises(ValueError, match="'0.weight' has no sizes yet, as its layer is lazy: run the model on a few"):
        call(nn.Sequential(nn.LazyLinear(6), nn.ReLU(), nn.Linear(6, 3)))
    if name in CALLS:
        with pytest.raises(ValueError, match="'0.weight' lies on the meta device, .* give .*to_empty"):
            call(net().to("meta"))


def test_sizes_are_read_on_the_meta_device():
    model = net().to("meta")
    assert masks.maskable(model) == ["0.weight", "2.weight", "4.weight"]
    assert models.multiplications(model, (8,)) == 48 + 30 + 15


# Weights that are computed from others, as masks read them


def test_a_pruned_weight_is_read_as_it_would_be_computed_now():
    def made(seed):
        model = net(seed)
        prune.identity(model[0], "weight")
        return model

    model = made(2)
    model.load_state_dict(made(1).state_dict())
    assert torch.equal(masks.scores(model, "magnitude")["0.weight"], net(1)[0].weight.abs())
    kept = masks.build({"0.weight": masks.scores(model, "magnitude")["0.weight"]}, 0.5)
    half = masks.to_torch(net(2), kept)
    half.load_state_dict(masks.to_torch(net(1), kept).state_dict())
    assert torch.equal(weights(half)["0.weight"], net(1)[0].weight * kept["0.weight"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [old_weight_norm, old_spectral_norm, parametrizations.weight_norm,
                                  parametrizations.spectral_norm])  # fmt: skip
def test_a_normalised_weight_is_read_as_it_would_be_computed_now_and_takes_no_step(norm):
    torch.manual_seed(0)
    model, other = (nn.Sequential(norm(nn.Linear(8, 6))).train() for _ in range(2))
    other(torch.randn(4, 8))
    model.load_state_dict(other.state_dict())
    before = remembered(model)
    found = masks.scores(model, "magnitude")["0.weight"]
    assert_unchanged(model, before)
    model.eval()(torch.randn(4, 8))
    torch.testing.assert_close(found, model[0].weight.detach().abs())
    with pytest.raises(ValueError, match="the weight of '0' is computed from others"):
        masks.to_torch(model, {"0.weight": ONES})


def test_a_weight_that_several_parametrisations_share_is_listed_once():
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 4))
    assert list(weights(model)) == ["0.weight", "1.weight"]
    model[1].weight = model[0].parametrizations.weight.original
    assert list(weights(model)) == ["0.weight"]
    model.append(OnTheFly(4, 4))
    assert list(weights(model)) == ["0.weight", "2.weight"]


def test_masks_that_cannot_all_be_applied_are_refused_before_the_first():
    model = nn.Sequential(nn.Linear(8, 6), parametrizations.weight_norm(nn.Linear(6, 3)))
    kept, before = masks.build(masks.scores(model, "magnitude"), 0.5), remembered(model)
    with pytest.raises(ValueError, match="the weight of '1' is computed from others: .*remove_parametrizations"):
        masks.to_torch(model, kept)
    assert masks.from_torch(model) == {}
    assert_unchanged(model, before)
    parametrize.remove_parametrizations(model[1], "weight")
    assert masks.from_torch(masks.to_torch(model, kept)).keys() == kept.keys()
    alone = parametrizations.weight_norm(nn.Linear(8, 6))
    with pytest.raises(ValueError, match="the weight of 'the model' is computed from others"):
        masks.to_torch(alone, {"weight": ONES})


def embedded():
    model = nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.Linear(12, 6), nn.Linear(6, 11, bias=False))
    model[3].weight = model[0].weight
    return model


def test_a_tied_weight_is_scored_by_its_gradient_as_by_its_magnitude():
    model, generator = embedded(), torch.Generator().manual_seed(0)
    images, labels = torch.randint(11, (20, 2), generator=generator), torch.randint(11, (20,), generator=generator)
    found = masks.scores(model, "gradient", data=SimpleNamespace(images=images, labels=labels))
    assert list(found) == list(masks.scores(model, "magnitude")) == ["2.weight", "3.weight"]
    F.cross_entropy(model(images), labels).backward()
    torch.testing.assert_close(found["3.weight"], model[0].weight.grad.abs(), rtol=1e-4, atol=1e-6)
    start = masks.scores(model, lambda weight, init: weight - init, init=dict(model.named_parameters()))
    assert not start["3.weight"].any()


def test_the_gradient_of_a_computed_weight_is_missing_for_a_reason():
    for model in (put(pruned(nn.Linear(8, 6)), "0"), put(parametrizations.weight_norm(nn.Linear(8, 6)), "0")):
        with pytest.raises(ValueError, match=r"'gradient' of '0.weight' is missing: the weight is computed from 0\."):
            masks.scores(model, "gradient", data=split())
    alone = parametrizations.weight_norm(nn.Linear(8, 3))
    with pytest.raises(ValueError, match="computed from parametrizations.weight.original0"):
        masks.scores(alone, "gradient", data=split())


# Masks by torch's pruning where a weight is read and its layer is not called


class ReadsOnly(nn.Module):
    """Reads the weights of two layers without calling them."""

    def __init__(self):
        super().__init__()
        self.one, self.more = nn.Linear(8, 8), nn.ModuleList([nn.Linear(8, 3)])

    def forward(self, x):
        return F.linear(F.linear(x, self.one.weight).relu(), self.more[0].weight)


class Own(nn.Module):
    """Attention as part of a larger model."""

    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True, kdim=8, vdim=4), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.attention(x, x, x[..., :4])[0])


READERS = {
    "attention": lambda: nn.MultiheadAttention(8, 2, batch_first=True),
    "attention with other keys": lambda: Own(),
    "a layer of a transformer": lambda: nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True),
    "a transformer": lambda: nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
    ),
    "in a row": lambda: nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
    "one that calls no layer": ReadsOnly,
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("name", READERS)
def test_masks_train_where_a_weight_is_read_without_calling_its_layer(name):
    torch.manual_seed(0)
    model, x = READERS[name](), torch.randn(2, 5, 8)
    twin, given = copy.deepcopy(model), (x, x, x) if isinstance(model, nn.MultiheadAttention) else (x,)
    kept = masks.build(masks.scores(model, "magnitude"), 0.4, floor=0.1)
    assert masks.from_torch(masks.to_torch(model, kept)).keys() == kept.keys()
    for each in (model, twin):
        optimiser = torch.optim.SGD(each.parameters(), lr=0.05)
        for _ in range(3):
            with torch.no_grad():
                for n, mask in kept.items() if each is twin else ():
                    twin.get_parameter(n).mul_(mask)
            torch.manual_seed(1)
            out = each(*given)
            optimiser.zero_grad()
            (out[0] if isinstance(out, tuple) else out).square().mean().backward()
            optimiser.step()
    out, expected = model.eval()(*given), None
    with torch.no_grad():
        for n, mask in kept.items():
            twin.get_parameter(n).mul_(mask)
            assert not weights(model)[n][~mask].any() and (weights(model)[n] != 0).any()
    expected = twin.eval()(*given)
    pair = (out[0], expected[0]) if isinstance(out, tuple) else (out, expected)
    torch.testing.assert_close(*pair, rtol=1e-4, atol=1e-5)
    torch.save(model, io.BytesIO())
    holder, _, attribute = next(iter(kept)).rpartition(".")
    prune.remove(model.get_submodule(holder), attribute)
    model(*given)
    assert len(masks.from_torch(model)) == len(kept) - 1


def test_lists_that_nobody_calls_have_no_hook():
    model = nn.ModuleList([nn.Linear(8, 6)])
    masks.to_torch(model, {"0.weight": ONES})
    assert not model._forward_pre_hooks and prune.is_pruned(model)
    row = masks.to_torch(net(), {"0.weight": ONES})
    assert not row._forward_pre_hooks


def test_a_layer_that_stands_twice_is_masked_in_both_places_and_shared_memory_is_refused():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    kept = torch.rand(8, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    x = split().images
    expected = F.linear(F.linear(x, layer.weight * kept, layer.bias).relu(), layer.weight * kept, layer.bias)
    torch.testing.assert_close(masks.to_torch(model, {"0.weight": kept})(x), expected)
    with pytest.raises(ValueError, match="0.weight and 2.weight are one weight, of which"):
        masks.to_torch(one_memory(), {"0.weight": torch.ones(6, 6).bool()})


# Compressed rows


def test_shared_weights_are_compressed_in_every_place():
    layer = nn.Linear(8, 8)
    twice = nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU(), nn.Linear(8, 3))
    two = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
    two[2].weight = two[0].weight
    x = split().images
    for model in (twice, two):
        kept, masked = masks.build(masks.scores(model, "magnitude"), 0.3), copy.deepcopy(model)
        with torch.no_grad():
            for n, mask in kept.items():
                masked.get_parameter(n).mul_(mask)
        sparse = masks.sparse(model, kept)
        torch.testing.assert_close(sparse(x), masked(x), rtol=1e-4, atol=1e-5)
        assert isinstance(sparse[0], masks.SparseLinear) and isinstance(sparse[2], masks.SparseLinear)
        assert (sparse[0] is sparse[2]) == (model is twice)
        table = masks.inference(model, kept, net(), [1], rounds=1).set_index("net")
        assert table.multiplications["dense"] == 64 + 64 + 24
        assert table.multiplications["csr"] == 2 * int(kept["0.weight"].sum()) + int(kept["4.weight"].sum())
        assert table.parameters["dense"] == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    "layer, message",
    [(LoRA(8, 6), "'0', a LoRA, computes"), (Halved(8, 6), "'0', a Halved, computes"),
     (hooked(nn.Linear(8, 6)), "'0' has forward hooks"), (with_own_method(nn.Linear(8, 6)), "'0', a Linear, computes"),
     (OnTheFly(8, 6), r"weights of \['0'\] are computed from others")],
    ids=["more parameters", "another forward", "a hook", "a forward of the instance", "no weight of its own"],
)  # fmt: skip
def test_what_compressed_rows_would_lose_is_refused(layer, message):
    model = put(layer, "0")
    before = remembered(model)
    with pytest.raises(ValueError, match=message):
        masks.sparse(model, {"0.weight": ONES})
    assert_unchanged(model, before)


def test_layers_without_a_mask_may_compute_as_they_like():
    model, x = put(LoRA(6, 5)).eval(), split().images
    torch.testing.assert_close(masks.sparse(model, {"0.weight": ONES})(x), model(x))
    with pytest.raises(ValueError, match="the weight of '2' shares memory with another one"):
        masks.sparse(one_memory(), {"0.weight": torch.ones(6, 6).bool()})


def test_overlapping_memory_is_told_from_neighbours():
    flat = torch.zeros(12)
    assert layers.overlap(flat[:6], flat[5:]) and not layers.overlap(flat[:6], flat[6:])
    assert layers.overlap(flat.view(3, 4), flat.view(4, 3).T) and not layers.overlap(flat, flat.clone())
    meta = flat.to("meta")
    assert layers.overlap(meta, meta) and not layers.overlap(meta, flat.to("meta"))
    assert not layers.overlap(torch.eye(3).to_sparse(), torch.eye(3))


# Parts of a model that hold their weights in another form


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("name", CALLS | SIZES)
def test_a_part_that_is_scripted_traced_or_quantized_is_refused_by_name(name):
    call, model = (CALLS | SIZES)[name], net()
    for place in ("2", "4"):
        for made in (torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, m.in_features))):
            model = put(made(net().get_submodule(place)), place)
            with pytest.raises(ValueError, match=f"'{place}' is scripted or traced .*put the module that it was made"):
                call(model)

    class Quantized(nn.Module):
        """Holds a packed weight, which it unpacks when it is asked, as torch's quantized layers do."""

        def weight(self):
            return torch.zeros(5, 6)

    with pytest.raises(ValueError, match="'2', a Quantized, holds its weight in another form"):
        call(put(Quantized()))


# A refused call takes no step


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("norm", [parametrizations.spectral_norm, old_spectral_norm])
@pytest.mark.parametrize("place", ["0", "2", "4"])
def test_a_spectral_norm_in_training_takes_no_step_in_any_call(norm, place):
    torch.manual_seed(0)
    model = put(norm(net().get_submodule(place)), place).train()
    before, data = remembered(model), split()
    for call in (
        lambda: units.order(model, "0", "norm"),
        lambda: units.scores(model, "0", "activation", data=data),
        lambda: units.pruning_curve(model, "0", range(6), data),
        lambda: units.removal_losses(model, "0", data),
        lambda: units.class_activations(model, "0", data),
        lambda: units.remove(model, "0", [0]),
        lambda: units.zeroed(model, "0", [0]),
        lambda: units.place_of(model, "2"),
        lambda: masks.to_torch(model, {f"{place}.weight": torch.ones_like(net().get_submodule(place).weight).bool()}),
        lambda: masks.sparse(model, {"0.weight": ONES}),
        lambda: masks.inference(model, {"0.weight": ONES}, net(), [1]),
        lambda: masks.from_torch(model),
        lambda: masks.scores(model, "magnitude"),
        lambda: masks.maskable(model),
        lambda: masks.counts(model, {"0.weight": ONES}),
        lambda: masks.random(model, 0.5),
        lambda: models.multiplications(model, (8,)),
        lambda: models.weight_count(model),
        lambda: models.prunable(model),
    ):
        with contextlib.suppress(ValueError):
            call()
        assert_unchanged(model, before)


# Layers without units, and what gives more than numbers


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_a_layer_without_units_is_refused_in_one_sentence():
    model, data = nn.Sequential(nn.Linear(8, 0), nn.ReLU(), nn.Linear(0, 3)), split()
    for call in (
        lambda: units.order(model, "0", "norm"),
        lambda: units.scores(model, "0", "frame_potential"),
        lambda: units.pruning_curve(model, "0", [], data),
        lambda: units.removal_losses(model, "0", data),
        lambda: units.class_activations(model, "0", data),
        lambda: units.remove(model, "0", []),
        lambda: units.zeroed(model, "0", []),
        lambda: units.place_of(model, "0"),
    ):
        with pytest.raises(
            ValueError, match=r"no layer of this model has|'0', Linear.* has no units: expected a layer of"
        ):
            call()
    narrow = nn.Sequential(nn.Linear(0, 4), nn.ReLU(), nn.Linear(4, 3))
    none = SimpleNamespace(images=torch.zeros(5, 0), labels=torch.zeros(5, dtype=torch.int64), classes=("a", "b", "c"))
    assert units.order(narrow, "0", "norm").tolist() == [0, 1, 2, 3]
    assert units.pruning_curve(narrow, "0", range(4), none).loss.shape == (5,)
    assert units.remove(narrow, "0", [1])(none.images).shape == (5, 3)


def test_a_pool_that_gives_positions_too_is_said():
    between = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2, return_indices=True), nn.Conv2d(4, 3, 1), nn.Flatten(),
                            nn.Linear(12, 3))  # fmt: skip
    with pytest.raises(
        ValueError, match="'1', MaxPool2d.*, gives positions beside numbers.*: use return_indices=False"
    ):
        units.order(between, "0", "norm")
    for place in ("before", "behind"):
        pool = nn.AdaptiveMaxPool2d(2, return_indices=True)
        layers_ = [nn.Conv2d(1, 4, 1), nn.Conv2d(4, 3, 1), nn.Flatten(), nn.Linear(12, 3)]
        layers_.insert(0 if place == "before" else 2, pool)
        model = nn.Sequential(*layers_)
        with pytest.raises(ValueError, match="a AdaptiveMaxPool2d gives a tuple, not a tensor"):
            units.removal_losses(model, "1" if place == "before" else "0", split((1, 6, 6)))
