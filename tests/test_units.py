"""Orders and curves against naive loops: recompute everything after each removal, zero units and run the whole net."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning_lab import criteria, precision, units
from pruning_lab.nets import models
from pruning_lab.units import orders, removal

CLASSES = 4
RELU, LINEAR = nn.ReLU(), nn.Linear(3, 3)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def split(shape, n=24, classes=CLASSES, seed=0):
    images = torch.randn(n, *shape, generator=seeded(seed))
    labels = torch.randint(classes, (n,), generator=seeded(seed + 1))
    return SimpleNamespace(images=images, labels=labels, classes=tuple(map(str, range(classes))))


def shaken(model, seed=0):
    """The same model with random weights and norm statistics throughout, so that no part is trivial."""
    for k, tensor in enumerate([*model.parameters(), *model.buffers()]):
        if tensor.is_floating_point():
            noise = torch.rand(tensor.shape, generator=seeded(seed + k))
            fan = tensor[0].numel() if tensor.ndim > 1 else 1
            tensor.data = noise + 0.5 if tensor.ndim == 1 else (noise - 0.5) * 4 / fan**0.5
    return model


def linear(n=6, inputs=5):
    return nn.Sequential(nn.Linear(inputs, n), nn.ReLU(), nn.Linear(n, CLASSES))


def with_rows(rows):
    model = linear(len(rows), len(rows[0]))
    model[0].weight.data = torch.tensor(rows, dtype=torch.float32)
    return model


OWN = {  # name: model, layer, shape of an image
    "linear": lambda: (linear(), "0", (5,)),
    "one unit": lambda: (linear(1), "0", (5,)),
    "before out, sigmoid": lambda: (
        nn.Sequential(nn.Flatten(), nn.Linear(8, 7), nn.Sigmoid(), nn.Dropout(0.9), nn.Linear(7, CLASSES)),
        "1",
        (2, 2, 2),
    ),
    "no bias, no activation": lambda: (
        nn.Sequential(nn.Linear(5, 6, bias=False), nn.Linear(6, 5, bias=False), nn.ReLU(True), nn.Linear(5, CLASSES)),
        "0",
        (5,),
    ),
    "batch norm, in-place": lambda: (
        nn.Sequential(
            nn.Linear(5, 6),
            nn.BatchNorm1d(6),
            nn.ReLU(inplace=True),
            nn.Linear(6, 5),
            nn.ReLU(inplace=True),
            nn.Linear(5, CLASSES),
        ),
        "0",
        (5,),
    ),
    "conv to conv": lambda: (
        nn.Sequential(
            nn.Conv2d(2, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.GELU(),
            nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 3, stride=2, padding=2, dilation=2, padding_mode="circular"),
            nn.ReLU(True),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, CLASSES),
        ),
        "0",
        (2, 9, 8),
    ),
    "conv, pool, flatten, linear": lambda: (
        nn.Sequential(
            nn.Conv2d(2, 5, 3, stride=2),
            nn.PReLU(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.BatchNorm1d(20),
            nn.Linear(20, 6),
            nn.LayerNorm(6),
            nn.Tanh(),
            nn.Linear(6, CLASSES),
        ),
        "0",
        (2, 10, 10),
    ),
    "nested": lambda: (
        nn.Sequential(
            nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU()),
            nn.Sequential(nn.Conv2d(4, 5, 2, bias=False), nn.ReLU()),
            nn.Flatten(),
            nn.Linear(20, CLASSES),
        ),
        "0.0",
        (2, 5, 5),
    ),
    "grouped layer": lambda: (
        nn.Sequential(
            nn.Conv2d(2, 6, 3, groups=2),
            nn.ReLU(),
            nn.Conv2d(6, 5, 1),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
            nn.Linear(5, CLASSES),
        ),
        "0",
        (2, 4, 4),
    ),
    "one ReLU, used twice": lambda relu=RELU: (
        nn.Sequential(nn.Linear(5, 6), relu, nn.Linear(6, 7), relu, nn.Linear(7, CLASSES)),
        "0",
        (5,),
    ),
}
BUILT = {
    "lenet_300_100": ((1, 4, 4), 6), "mlp": ((1, 4, 4), 5), "conv_2": ((2, 4, 4), 3), "conv_4": ((2, 4, 4), 3),
    "conv_6": ((1, 8, 8), 3), "vgg19": ((1, 32, 32), 2), "vgg19_bn": ((1, 32, 32), 2),
}  # fmt: skip


def case(name):
    if name in OWN:
        model, layer, shape = OWN[name]()
        return shaken(model), [layer], shape
    shape, width = BUILT[name]
    model = models.build(name, shape, classes=CLASSES, width=width)
    layers = models.prunable(model)
    return shaken(model), layers[:: max(1, len(layers) // 4)], shape


def naive(model, layer, order, test):
    """Logits after removing 0..n units, each from a net with zeroed units."""
    with torch.no_grad():
        return torch.stack([units.zeroed(model, layer, order[:k]).eval()(test.images) for k in range(len(order) + 1)])


def assert_equal_to_naive(curve, logits, labels):
    close = logits.topk(2).values.diff().abs()[..., 0] < 1e-4
    right = (logits.argmax(2) == labels).double()
    assert ((curve.accuracy - right.mean(1)).abs() <= close.double().mean(1) + 1e-12).all()
    loss = torch.stack([F.cross_entropy(step.double(), labels) for step in logits])
    torch.testing.assert_close(curve.loss, loss, rtol=1e-5, atol=1e-5)
    assert curve.accuracy.dtype == curve.loss.dtype == torch.float64


# Orders


def naive_order(score, n, sign):
    """Recompute all scores among the units still there, in Python floats, before each removal."""
    there, found = list(range(n)), []
    while there:
        worst = min(there, key=lambda u: (round(sign * score(u, there), 9), u))  # rounded: ties are ties
        found.append(worst)
        there.remove(worst)
    return found


@pytest.mark.parametrize("remove", ["lowest", "highest"])
@pytest.mark.parametrize("name", sorted(criteria.UNIT))
@pytest.mark.parametrize("net", ["linear", "conv to conv", "conv, pool, flatten, linear", "one unit"])
def test_orders_equal_recomputing_from_scratch(name, remove, net):
    model, (layer,), shape = case(net)
    test, weight = split(shape), dict(model.named_modules())[layer].weight
    given = {k: torch.randn(weight.shape, generator=seeded(9)).double() for k in ("init", "gradient", "diff")}
    held = orders._held(units.place_of(model.eval(), layer), criteria.needs(name), test, 3) | given
    values = criteria.UNIT[name](**{read: held[read].detach() for read in criteria.needs(name)}).double()
    term = values.tolist()
    score = (lambda u, there: sum(term[u][v] for v in there)) if values.ndim == 2 else (lambda u, there: term[u])
    expected = naive_order(score, len(weight), 1 if remove == "lowest" else -1)
    given = {k: v for k, v in given.items() if k in criteria.needs(name)}
    found = units.order(model, layer, name, remove=remove, data=test, seed=3, **given)
    assert found.tolist() == expected and found.dtype == torch.int64
    full = units.scores(model, layer, name, data=test, seed=3, **given)
    torch.testing.assert_close(full, values.sum(1) if values.ndim == 2 else values, rtol=1e-9, atol=1e-9)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 40), seed=st.integers(0, 2**31), remove=st.sampled_from(["lowest", "highest"]))
def test_greedy_orders_of_any_size_equal_recomputing_from_scratch(n, seed, remove):
    terms = torch.randn(n, n, generator=seeded(seed), dtype=torch.float64)  # not symmetric, signed
    sign = 1 if remove == "lowest" else -1
    expected = naive_order(lambda u, there: sum(terms[u, v].item() for v in there), n, sign)
    assert orders._greedy(orders._exact(sign * terms)).tolist() == expected


@pytest.mark.parametrize("name", sorted(criteria.UNIT))
@settings(max_examples=8, deadline=None)
@given(n=st.integers(1, 12), seed=st.integers(0, 2**20), data=st.data())
def test_order_is_a_permutation_the_same_each_time_and_follows_its_units(name, n, seed, data):
    model, test, needs = shaken(linear(n), seed), split((5,)), criteria.needs(name)
    given = {k: torch.randn(n, 5, generator=seeded(seed)) for k in ("init", "gradient", "diff") if k in needs}
    found = units.order(model, "0", name, data=test, seed=seed, **given)
    assert sorted(found.tolist()) == list(range(n))
    assert torch.equal(found, units.order(model, "0", name, data=test, seed=seed, **given))
    if "noise" in needs or units.scores(model, "0", name, data=test, **given).unique().numel() < n:
        return  # noise stays where it is, and ties go by position
    moved, to = copy.deepcopy(model), torch.tensor(data.draw(st.permutations(range(n))))
    moved[0].weight.data, moved[0].bias.data = model[0].weight.data[to], model[0].bias.data[to]
    moved[2].weight.data = model[2].weight.data[:, to]
    again = units.order(moved, "0", name, data=test, **{k: v[to] for k, v in given.items()})
    assert to[again][:-2].tolist() == found[:-2].tolist()  # the last two always share their frame potential


def test_scale_and_sign_of_rows_leave_the_frame_potential_order():
    model, other = shaken(linear(9)), shaken(linear(9))
    other[0].weight.data *= torch.tensor([1, -1, 2, -0.5, 4, 0.25, -8, 1, -2])[:, None]
    orders = [units.order(m, "0", "frame_potential").tolist() for m in (model, other)]
    assert orders[0] == orders[1] != units.order(other, "0", "norm").tolist()


def test_ties_go_by_position_and_zero_rows_first():
    model = with_rows([[0, 2], [1, 0], [0, 0], [0, 3], [1, 0], [0, 0]])
    assert units.order(model, "0", "norm").tolist() == [2, 5, 1, 4, 0, 3]
    assert units.order(model, "0", "norm", remove="highest").tolist() == [3, 0, 1, 4, 2, 5]
    assert units.order(model, "0", "frame_potential").tolist() == [2, 5, 0, 3, 1, 4]
    assert units.order(with_rows([[3, 4]] * 5), "0", "frame_potential").tolist() == [0, 1, 2, 3, 4]
    assert units.order(with_rows([[0, 0]] * 3), "0", "frame_potential", remove="highest").tolist() == [0, 1, 2]


def test_greedy_is_not_the_order_of_the_first_scores():
    model = with_rows([[1, 0, 0], [1, 0.1, 0], [1, 0, 0.1], [0.5, 1, 0], [0, 1, 0], [0, 0.9, 0.2], [0, 0, 1]])
    first = units.scores(model, "0", "frame_potential").argsort(stable=True, descending=True).tolist()
    assert units.order(model, "0", "frame_potential", remove="highest").tolist() != first


def test_sums_of_pairwise_terms_are_exact():
    rows = torch.rand(300, 20, generator=seeded(4), dtype=torch.float64) * torch.logspace(-9, 9, 300)[:, None]
    terms = criteria.frame_potential_raw(rows)
    exact = orders._exact(terms)
    torch.testing.assert_close(exact, terms, rtol=0, atol=2.0**-40 * terms.max().item())
    assert torch.equal(exact.sum(1), exact.flip(1).cumsum(1)[:, -1])
    assert ((exact - terms).abs().amax(1) <= 2.0**-40 * terms.amax(1)).all()


def test_random_orders_differ_by_seed():
    orders = [units.order(linear(50), "0", "random", seed=seed).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_function_is_a_criterion_and_reads_what_it_is_given():
    def moved(weight, init):
        return (weight - init).flatten(1).norm(dim=1)

    model = linear(3)
    init = model[0].weight.detach() + torch.tensor([3.0, 1.0, 2.0])[:, None]
    assert units.order(model, "0", moved, init=init).tolist() == [1, 2, 0]
    with pytest.raises(ValueError, match="'moved' reads init, not held by the model: pass init="):
        units.order(model, "0", moved)
    with pytest.raises(ValueError, match="no criterion reads initial"):
        units.order(model, "0", moved, initial=init)


def test_activations_are_what_the_next_layer_reads_and_gradients_are_those_of_each_image(monkeypatch):
    model, (layer,), shape = case("conv, pool, flatten, linear")
    test, model = split(shape), model.double().eval()
    test.images = test.images.double()
    monkeypatch.setattr(removal, "_BYTES", {"cpu": 5000})  # several batches
    found = orders._activations(units.place_of(model, layer), test, gradients=True)
    read = model[:5](test.images)
    assert found["activation"].shape == (24, 5, 4)
    torch.testing.assert_close(found["activation"].flatten(1), read)
    for i in (0, 23):
        leaf = read[i : i + 1].detach().requires_grad_()
        F.cross_entropy(model[5:](leaf), test.labels[i : i + 1]).backward()
        torch.testing.assert_close(found["activation_gradient"][i].flatten(), leaf.grad[0])


def following(model, layer):
    """The next layer with weights."""
    weighted = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    return weighted[[name for name, _ in weighted].index(layer) + 1][1]


def naive_class_activations(model, layer, test):
    """Image by image and unit by unit: the mean of what the next layer is given in a run of the whole net."""
    reads, n = [], len(model.get_submodule(layer).weight)
    handle = following(model, layer).register_forward_pre_hook(lambda _, given: reads.append(given[0].detach().clone()))
    for image in test.images:
        model(image[None])
    handle.remove()
    found = torch.zeros(len(test.classes), n, dtype=torch.float64)
    for k in range(len(test.classes)):
        of_class = [read.reshape(n, -1) for read, label in zip(reads, test.labels, strict=True) if label == k]
        for unit in range(n if of_class else 0):
            found[k, unit] = sum(read[unit].mean() for read in of_class) / len(of_class)
    return found


@pytest.mark.parametrize("name", [*OWN, "conv_2"])
def test_class_activations_are_means_of_what_the_next_layer_reads(name):
    model, layers, shape = case(name)
    model, test = model.double().eval(), split(shape)
    # no image of the third class
    test.images, test.labels = test.images.double(), test.labels.where(test.labels != 2, 0)
    for layer in layers:
        found = units.class_activations(model, layer, test)
        assert found.shape == (CLASSES, len(model.get_submodule(layer).weight)) and found.dtype == torch.float64
        torch.testing.assert_close(found, naive_class_activations(model, layer, test), rtol=1e-12, atol=1e-14)
        assert not found[2].any() and found[[0, 1, 3]].any(1).all()


@pytest.mark.parametrize(
    "name, bytes_", [("linear", 150), ("conv to conv", 8000), ("conv, pool, flatten, linear", 8000)]
)
def test_chunks_change_no_class_activation(name, bytes_, monkeypatch):
    model, (layer,), shape = case(name)
    test, calls = split(shape, 23), []
    model.double()[0].register_forward_hook(lambda *_: calls.append(1))
    found = units.class_activations(model, layer, test)
    whole = len(calls)
    for size in (1, bytes_):  # an image at a time, and a few, 23 being no multiple
        monkeypatch.setattr(removal, "_BYTES", {"cpu": size})
        calls.clear()
        torch.testing.assert_close(units.class_activations(model, layer, test), found, rtol=1e-12, atol=1e-14)
        assert len(calls) > whole


# Curves


@pytest.mark.parametrize("name", [*OWN, *BUILT])
def test_curves_equal_zeroing_and_running_the_whole_net(name):
    model, layers, shape = case(name)
    test = split(shape)
    for layer in layers:
        n = len(dict(model.named_modules())[layer].weight)
        orders = {f"random {seed}": torch.randperm(n, generator=seeded(seed)) for seed in (0, 1)}
        orders["norm"] = units.order(model, layer, "norm")
        curves = units.pruning_curves(model, layer, orders, test)
        assert list(curves) == list(orders)
        for key, order in orders.items():
            assert curves[key].accuracy.shape == curves[key].loss.shape == (n + 1,)
            assert_equal_to_naive(curves[key], naive(model, layer, order, test), test.labels)


@pytest.mark.parametrize("name", ["linear", "batch norm, in-place", "conv to conv", "conv, pool, flatten, linear"])
def test_chunks_and_blocks_change_nothing(name, monkeypatch):
    model, (layer,), shape = case(name)
    test = split(shape, 23)
    order = units.order(model, layer, "norm")
    curve, single = units.pruning_curve(model, layer, order, test), units.removal_losses(model, layer, test)
    monkeypatch.setattr(removal, "_BYTES", {"cpu": 20_000})
    monkeypatch.setattr(removal, "_BLOCK", 2)
    again = [*units.pruning_curve(model, layer, order, test), *units.removal_losses(model, layer, test)]
    for before, after in zip([*curve, *single], again, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-6)


def test_the_last_point_is_the_bias_alone_exactly():
    model, test = shaken(linear(70)), split((5,))
    curve = units.pruning_curve(model, "0", torch.randperm(70), test)
    loss = F.cross_entropy(model[2].bias.detach().expand(24, -1), test.labels)
    torch.testing.assert_close(curve.loss[-1].float(), loss, rtol=1e-6, atol=0)
    assert curve.accuracy[-1] == (test.labels == model[2].bias.argmax()).double().mean()


def test_rounding_does_not_add_up_over_a_wide_layer(monkeypatch):
    n, model = 10_000, linear(10_000)
    weight, inputs = model[2].weight.detach().abs_(), torch.rand(8, n, 1, generator=seeded(0))  # nothing averages out
    place, order = units.place_of(model, "0"), torch.randperm(n, generator=seeded(1))

    def worst():
        with torch.no_grad():
            sums = torch.stack([*removal._along(place, inputs, order)])[[9_000, n]].double()
        kept = [order[1000:], order]
        exact = [inputs[:, k, 0].double() @ weight[:, k].double().T + model[2].bias.detach() for k in kept]
        return (sums / torch.stack(exact) - 1).abs().max()

    assert worst() < 1e-6
    monkeypatch.setattr(removal, "_BLOCK", n)
    assert worst() > 1e-6  # what the blocks are for


def test_limit_takes_the_first_images():
    model, test = shaken(linear()), split((5,), 20)
    first = SimpleNamespace(images=test.images[:7], labels=test.labels[:7])
    curves = units.pruning_curve(model, "0", range(6), test, limit=7), units.pruning_curve(model, "0", range(6), first)
    assert all(map(torch.equal, *curves))
    singles = units.removal_losses(model, "0", test, limit=7), units.removal_losses(model, "0", first)
    assert singles[0].whole_loss == singles[1].whole_loss


@pytest.mark.parametrize("name", [*OWN, "conv_2", "vgg19_bn"])
def test_removal_losses_equal_zeroing_each_unit_alone(name):
    model, layers, shape = case(name)
    test = split(shape)
    for layer in layers:
        single = units.removal_losses(model, layer, test)
        n = len(dict(model.named_modules())[layer].weight)
        whole = naive(model, layer, torch.arange(n), test)[:1]
        alone = torch.stack([naive(model, layer, torch.tensor([u]), test)[1] for u in range(n)])
        assert_equal_to_naive(units.Curve(single.accuracy, single.loss), alone, test.labels)
        together = torch.tensor([[single.whole_accuracy], [single.whole_loss]], dtype=torch.float64)
        assert_equal_to_naive(units.Curve(*together), whole, test.labels)


@pytest.mark.parametrize("products, convolutions", [(True, True), (True, False), (False, True), (False, False)])
def test_no_pass_rounds_to_tensorfloat_and_the_switches_are_put_back(products, convolutions):
    def both():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    before, seen, model = both(), [], linear()
    model[1].register_forward_hook(lambda *_: seen.append(both()))
    try:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = products, convolutions
        with precision.evaluation(model):
            assert both() == (False, False)
        assert both() == (products, convolutions)
        units.pruning_curve(model, "0", torch.arange(6), split((5,)))
        units.removal_losses(model, "0", split((5,)))
        units.order(model, "0", "activation", data=split((5,)))
        units.class_activations(model, "0", split((5,)))
        assert seen and set(seen) == {(False, False)} and both() == (products, convolutions)
        with pytest.raises(KeyError), precision.evaluation(model):
            raise KeyError
        assert both() == (products, convolutions)
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_pass_leaves_weights_modes_and_gradients_alone():
    model, (layer,), shape = case("batch norm, in-place")
    model.train()
    model[1].eval()
    modes, state = [m.training for m in model.modules()], copy.deepcopy(model.state_dict())
    test = split(shape)
    images = test.images.clone()
    order = units.order(model, layer, "taylor", data=test)
    units.pruning_curve(model, layer, order, test)
    units.removal_losses(model, layer, test)
    units.class_activations(model, layer, test)
    assert modes == [m.training for m in model.modules()]
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters()) and torch.equal(images, test.images)


# Removal


@pytest.mark.parametrize("name", [*(n for n in OWN if n not in ("one unit", "grouped layer")), *BUILT])
@pytest.mark.parametrize("train", [False, True])
def test_remove_gives_a_smaller_net_with_the_outputs_of_the_zeroed_one(name, train):
    model, layers, shape = case(name)
    test = split(shape)
    for layer in layers:
        n = len(dict(model.named_modules())[layer].weight)
        gone, state = torch.randperm(n, generator=seeded(0))[: n // 2], copy.deepcopy(model.state_dict())
        train = train and name != "before out, sigmoid"  # which has dropout
        small, zero = (f(model, layer, gone).train(train) for f in (units.remove, units.zeroed))
        torch.testing.assert_close(small(test.images), zero(test.images), rtol=1e-5, atol=1e-5)
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
        assert len(dict(small.named_modules())[layer].weight) == n - len(gone)
        assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())


def test_a_smaller_net_tells_its_sizes_and_trains():
    model, _, shape = case("vgg19_bn")
    small = units.remove(units.remove(model, "conv1", [0]), "conv16", [3, 5])
    assert (small.conv1.out_channels, small.bn1.num_features, small.conv2.in_channels) == (1, 1, 1)
    assert (small.conv16.out_channels, small.fc1.in_features) == (14, 14)
    F.cross_entropy(small(split(shape).images), split(shape).labels).backward()
    assert all(p.grad.shape == p.shape for p in small.parameters())


def test_zeroed_zeroes_everything_that_belongs_to_a_unit():
    model, (layer,), shape = case("conv, pool, flatten, linear")
    zero = units.zeroed(model, layer, [1, 3])
    norm, outgoing = zero[4], zero[5].weight.view(6, 5, 4).transpose(0, 1)
    for tensor in (zero[0].weight, zero[0].bias, norm.weight.view(5, 4), norm.bias.view(5, 4), outgoing):
        assert not tensor[[1, 3]].any() and tensor[[0, 2, 4]].all()


def test_all_units_zeroed_leave_the_bias_and_none_removed_leaves_all():
    model, (layer,), shape = case("before out, sigmoid")
    model, images = model.eval(), split(shape).images
    assert torch.equal(units.zeroed(model, layer, range(7))(images), model[4].bias.expand(24, -1))
    assert torch.equal(units.remove(model, layer, [])(images), model(images))


# Errors


def conv(*between, after=None):
    return nn.Sequential(nn.Conv2d(1, 4, 3), *between, after or nn.Linear(16, CLASSES))


REFUSED = {
    "no such layer": (linear(), "fc9", r"'fc9' has no units.*\['0'\]"),
    "no layer behind": (linear(), "2", r"'2' has no units.*\['0'\]"),
    "an activation": (linear(), "1", "'1' has no units"),
    "group norm": (conv(nn.GroupNorm(2, 4), nn.Flatten()), "0", r"'1', GroupNorm.*may mix units: expected"),
    "layer norm": (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)), "0", "LayerNorm.*may mix units"),
    "softmax": (nn.Sequential(nn.Linear(3, 4), nn.Softmax(1), nn.Linear(4, 2)), "0", "Softmax.*may mix units"),
    "part flatten": (conv(nn.Flatten(2)), "0", "Flatten.*may mix units"),
    "no flatten": (conv(nn.AdaptiveAvgPool2d(4)), "0", "does not read all units.*nn.Flatten"),
    "next layer grouped": (conv(after=nn.Conv2d(4, 4, 1, groups=2)), "0", "does not read all units.*groups=1"),
    "sizes do not match": (nn.Sequential(nn.Linear(3, 4), nn.Linear(6, 2)), "0", "does not read all units"),
    "tokens": (nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.Linear(20, 2)), "0", "does not read all units"),
    "batch statistics": (
        conv(nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten()), "0", "'1' depends on the batch"),
    "not a Sequential": (nn.Linear(3, 3), "weight", "Linear is not a plain nn.Sequential"),
    "weights shared": (
        nn.Sequential(LINEAR, nn.ReLU(), LINEAR, nn.Linear(3, 2)), "0", "'0' stands in the model twice"),
    "weights computed": (
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)), nn.Linear(4, 2)), "0", "'0' is computed"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_where_no_units_can_be_told_apart(name):
    model, layer, message = REFUSED[name]
    for call in (
        lambda: units.order(model, layer, "norm"),
        lambda: units.remove(model, layer, [0]),
        lambda: units.pruning_curve(model, layer, torch.arange(4), split((3,))),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_arguments_say_what_was_expected():
    model, test = linear(), split((5,))
    calls = {
        "expected 'lowest' or 'highest'": lambda: units.order(model, "0", "norm", remove="min"),
        "unknown criterion 'l1'": lambda: units.order(model, "0", "l1"),
        "'taylor' reads activation.*, not held by the model: pass data=": lambda: units.order(model, "0", "taylor"),
        r"returned shape \[6, 5\] for '0': expected \[6\] or \[6, 6\]": lambda: units.order(
            model, "0", lambda weight: weight
        ),
        "returned list for '0': expected a tensor": lambda: units.order(model, "0", lambda weight: weight.tolist()),
        r"'init' of '0' has shape \[5\]: expected \[6, 5\]": lambda: units.order(
            model, "0", lambda weight, init: (weight - init).norm(dim=1), init=torch.zeros(5)
        ),
        r"'noise' of '0' has shape \[1\]: expected \[6\]": lambda: units.order(
            model, "0", lambda weight, noise: weight[:, 0] * noise, noise=torch.ones(1)
        ),
        "that are not finite: check": lambda: units.order(model, "0", lambda noise: noise / 0),
        "order 'order' is no order of removal: expected each of 0..5 once": lambda: units.pruning_curve(
            model, "0", torch.tensor([0, 1, 2, 3, 4, 4]), test
        ),
        "order 'order' is no": lambda: units.pruning_curve(model, "0", torch.arange(5), test),
        "no images": lambda: units.pruning_curve(model, "0", torch.arange(6), test, limit=0),
        "expected numbers of units, 0..5": lambda: units.remove(model, "0", [6]),
        r"removed=\[True": lambda: units.zeroed(model, "0", torch.ones(6, dtype=torch.bool)),
        "removing all 6 units of '0'": lambda: units.remove(model, "0", range(6)),
        "expected .*logits": lambda: units.pruning_curve(model, "0", torch.arange(6), split((3, 5))),
        "'0' is a grouped convolution": lambda: units.remove(case("grouped layer")[0], "0", [0]),
    }
    for message, call in calls.items():
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", sorted(criteria.UNIT))
def test_weights_that_are_not_finite_are_refused(name, value):
    model = linear()
    model[0].weight.data[2, 1] = value
    with pytest.raises(ValueError, match="'0' has 1 weights that are not finite: train it again"):
        units.order(model, "0", name, data=split((5,)))


# Criteria that read gradients


def by_hand(model, layer, test):
    """Mean gradient of a layer's weights, and the mean of its signs, image by image in float64."""
    model, rows = copy.deepcopy(model).double().eval(), []
    for image, label in zip(test.images.double(), test.labels, strict=True):
        loss = F.cross_entropy(model(image[None]), label[None])
        rows.append(torch.autograd.grad(loss, model.get_submodule(layer).weight)[0])
    return torch.stack(rows).mean(0), torch.stack(rows).sign().mean(0)


@pytest.mark.parametrize("name", ["linear", "conv to conv", "batch norm, in-place"])
def test_criteria_read_gradients_and_diffs_of_a_split(name):
    model, (layer,), shape = case(name)
    test, seen = split(shape), {}

    def both(gradient, diff):
        seen.update(gradient=gradient, diff=diff)
        return gradient.flatten(1).norm(dim=1)

    before = copy.deepcopy(model.state_dict())
    model.train()
    found = units.scores(model, layer, both, data=test)
    gradient, diff = by_hand(model, layer, test)
    assert seen["gradient"].dtype == seen["diff"].dtype == found.dtype == torch.float64
    torch.testing.assert_close(seen["gradient"], gradient, rtol=1e-3, atol=1e-6)
    assert (seen["diff"] - diff).abs().mean() < 0.01
    torch.testing.assert_close(found, gradient.flatten(1).norm(dim=1), rtol=1e-3, atol=1e-6)
    assert units.order(model, layer, both, data=test).tolist() == found.argsort(stable=True).tolist()
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items()) and model.training
    assert all(p.grad is None for p in model.parameters())


def test_only_what_a_criterion_reads_is_differentiated_and_what_is_given_is_not(monkeypatch):
    asked, whole = [], orders.gradients.statistics
    monkeypatch.setattr(
        orders.gradients, "statistics", lambda model, data, want: asked.append(want) or whole(model, data, want=want)
    )
    model, test = shaken(linear()), split((5,))
    units.order(model, "0", "norm", data=test)
    units.order(model, "0", lambda diff: diff.abs().sum(1), data=test)
    units.order(model, "0", lambda gradient: gradient.abs().sum(1), data=test, gradient=torch.ones(6, 5))
    assert asked == [{"diffs"}]
    with pytest.raises(ValueError, match="reads gradient, not held by the model: pass data=, a Split"):
        units.order(model, "0", lambda gradient: gradient.sum(1))


# Images, labels and types


def wide_net(kind):
    """A net whose logits lie far apart, and ten thousand images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 10))
        model[2].weight.data.mul_(60)
        test = SimpleNamespace(images=torch.randn(10_000, 16), labels=torch.randint(10, (10_000,)))
    return model.to(kind), test


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(kind):
    (model, test), (whole, _) = wide_net(kind), wide_net(torch.float32)
    curve, right = (units.pruning_curve(m, "0", torch.arange(32), test) for m in (model, whole))
    assert right.loss[0] == pytest.approx(18.24, abs=0.01)
    torch.testing.assert_close(curve.loss, right.loss, rtol=4 * torch.finfo(kind).eps, atol=0)
    single, alone = (units.removal_losses(m, "0", test) for m in (model, whole))
    assert len(single.loss.unique()) == 32
    torch.testing.assert_close(single.loss, alone.loss, rtol=4 * torch.finfo(kind).eps, atol=0)
    test.classes = tuple("0123456789")
    means = [units.class_activations(m, "0", test) for m in (model, whole)]
    torch.testing.assert_close(*means, rtol=0.02, atol=0.01)
    for name in ("activation", "taylor"):
        found, expected = (units.scores(m, "0", name, data=test) for m in (model, whole))
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0.01)


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint64])
def test_labels_may_be_any_whole_numbers(kind):
    model, test = shaken(linear()), split((5,))
    other = SimpleNamespace(images=test.images, labels=test.labels.to(kind), classes=test.classes)
    for measure in (
        lambda data: units.pruning_curve(model, "0", range(6), data).loss,
        lambda data: units.removal_losses(model, "0", data).loss,
        lambda data: units.class_activations(model, "0", data),
        lambda data: units.order(model, "0", "taylor", data=data),
    ):
        assert torch.equal(measure(test), measure(other))


def test_images_and_labels_that_do_not_fit_are_refused_by_every_measure():
    model, one, test = shaken(linear()), shaken(linear()), split((5,))
    one[2] = nn.Linear(6, 1)
    whole = r"expected logits \[n, classes\] of two classes or more and one label a sample"
    for wrong, text in [
        (dict(labels=F.one_hot(test.labels)), rf"{whole}|labels are int64 \[24, 4\].*argmax"),
        (dict(labels=F.one_hot(test.labels).float()), rf"{whole}|labels are float32 \[24, 4\].*argmax"),
        (dict(labels=test.labels.float()), r"labels are float32 \[24\]: expected whole numbers.*labels.long\(\)"),
        (dict(labels=test.labels + 1j), r"labels are complex64 \[24\]: expected whole numbers"),
        (dict(labels=test.labels + 1), "labels go from 1 to 4, but the (model has|split names) 4 .*: expected 0 to 3"),
        (dict(labels=test.labels - 1), "labels go from -1 to 2, but"),
        (dict(labels=test.labels[:5]), r"split has images \[24, 5\] and labels \[5\]: expected tensors"),
        (dict(labels=test.labels.tolist()), r"images \[24, 5\] and labels list: expected tensors"),
        (dict(images=test.images[:0], labels=test.labels[:0]), "split has no samples: expected at least one"),
        (dict(images=test.images[:, :4]), r"the model cannot read an image of shape \[4\]: "),
        (dict(images=test.images[..., None]), "the model cannot read an image|expected .*logits"),
    ]:
        data = SimpleNamespace(**vars(test) | wrong)
        for measure in (
            lambda data=data: units.pruning_curve(model, "0", range(6), data),
            lambda data=data: units.removal_losses(model, "0", data),
            lambda data=data: units.class_activations(model, "0", data),
            lambda data=data: units.order(model, "0", "taylor", data=data),
        ):
            with pytest.raises(ValueError, match=text):
                measure()
    with pytest.raises(ValueError, match=rf"the model gives \[24, 1\] for labels \[24\]: {whole}"):
        units.pruning_curve(one, "0", range(6), test)
    with pytest.raises(ValueError, match=r"the split names 0 classes \(split.classes\)"):
        units.class_activations(model, "0", SimpleNamespace(images=test.images, labels=test.labels))


@pytest.mark.parametrize("limit", [0, -1, 2.5, "all"])
def test_a_limit_is_a_number_of_images(limit):
    with pytest.raises(ValueError, match=f"no images to measure on: the split has 24, limit={limit}; expected None or"):
        units.pruning_curve(linear(), "0", range(6), split((5,)), limit=limit)


def test_losses_that_are_not_finite_are_refused():
    model, test = shaken(linear()), split((5,))
    test.images[3, 0] = torch.nan
    for measure in (
        lambda: units.pruning_curve(model, "0", range(6), test),
        lambda: units.removal_losses(model, "0", test),
    ):
        with pytest.raises(ValueError, match="the loss of . of 7 nets is not finite: check images and weights for NaN"):
            measure()


@pytest.mark.parametrize("order", ["abcdef", [0.0, 1, 2, 3, 4, 5], [[0, 1], [2, 3]], [6, 1, 2, 3, 4, 5], [None]])
def test_what_is_no_order_is_refused(order):
    with pytest.raises(ValueError, match="order 'order'.*: expected "):
        units.pruning_curve(linear(), "0", order, split((5,)))


def test_memory_that_does_not_suffice_is_not_called_a_wrong_image(monkeypatch):
    model = linear()

    def full(_):
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(model[2], "forward", full)
    place = units.place_of(linear(), "0")._replace(following=model[2])
    with pytest.raises(torch.OutOfMemoryError):
        removal._batches(place, torch.zeros(1, 5))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_cuda():
    model, (layer,), shape = case("conv, pool, flatten, linear")
    test = split(shape)
    for name in ("frame_potential", "random"):
        order = units.order(model, layer, name)
        on_device = copy.deepcopy(model).cuda()
        assert units.order(on_device, layer, name).tolist() == order.tolist()
        expected = units.pruning_curve(model, layer, order, test).loss
        found = units.pruning_curve(on_device, layer, order, test).loss.cpu()
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=1e-2)  # convolutions round to TF32
