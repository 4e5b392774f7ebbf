"""Arguments of another kind than expected: one sentence each, whichever public function they are given to."""

import functools
import math
import threading
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_between import net, split
from torch import nn

import pruning_lab
from pruning_lab import criteria, masks, units
from pruning_lab.nets import given, models

SCORES = {"a": torch.arange(8.0).view(2, 4), "b": torch.arange(3.0)}
ONES = {"0.weight": torch.ones(6, 8, dtype=torch.bool)}
SEEDS = [1.5, "1", None, True, math.nan, 2**64, -(2**64), [1], torch.tensor(1)]


def refused(text, *calls):
    for call in calls:
        with pytest.raises(ValueError, match=text) as told:
            call()
        assert "\n" not in str(told.value) and len(str(told.value)) < 400


@pytest.mark.parametrize("seed", SEEDS, ids=str)
def test_a_seed_is_a_whole_number_that_generators_take(seed):
    model = net()
    refused(
        "seed=.*: expected a whole number from -9223372036854775808 to 18446744073709551615",
        lambda: masks.build(SCORES, 0.5, seed=seed),
        lambda: masks.grid(SCORES, [0.5], shuffle="layer", seed=seed),
        lambda: masks.random(model, 0.5, seed=seed),
        lambda: masks.scores(model, "magnitude", seed=seed),
        lambda: masks.inference(model, ONES, model, [1], seed=seed),
        lambda: units.order(model, "0", "random", seed=seed),
        lambda: units.scores(model, "0", "norm", seed=seed),
        lambda: models.build("mlp", (1, 4, 4), seed=seed),
    )


@pytest.mark.filterwarnings("ignore::pruning_lab.masks.EmptyLayer")
def test_seeds_of_numpy_and_the_largest_are_taken():
    for seed in (np.int64(3), np.uint8(3), -1, 2**64 - 1, -(2**63)):
        masks.build(SCORES, 0.5, shuffle="layer", seed=seed)
        assert units.order(net(), "0", "random", seed=seed).shape == (6,)
    assert masks.build(SCORES, np.float32(0.5), invert=np.True_)["a"].sum() == 3


@pytest.mark.parametrize("wrong", [math.nan, math.inf, "0.5", True, None, [0.5], 0, 1.01, -0.1, 1j, torch.tensor(0.5)],
                         ids=str)  # fmt: skip
def test_a_density_is_a_fraction(wrong):
    refused(
        "density=.*: expected the fraction of weights kept, above 0 and at most 1",
        lambda: masks.build(SCORES, wrong),
        lambda: masks.build(SCORES, wrong, "erk"),
        lambda: masks.grid(SCORES, [0.5, wrong]),
        lambda: masks.random(net(), wrong),
    )


@pytest.mark.parametrize("wrong", [math.nan, "0.1", True, None, [0.1], -0.1, 1.1], ids=str)
def test_a_floor_is_a_fraction(wrong):
    refused(
        "floor=.*: expected the least density of a layer, from 0 to 1",
        lambda: masks.build(SCORES, 0.5, floor=wrong),
        lambda: masks.random(net(), 0.5, floor=wrong),
    )


def test_fractions_of_every_type_are_told_when_floors_need_more():
    refused("density 0.25 keeps 3 of 11 weights", lambda: masks.build(SCORES, Fraction(1, 4), floor=Fraction(1, 2)))
    with pytest.warns(masks.EmptyLayer, match="at density 0.25 no weight is left in b"):
        masks.build(SCORES, Fraction(1, 4))


@pytest.mark.filterwarnings("ignore::pruning_lab.masks.EmptyLayer")
def test_densities_are_several_and_none_is_fine():
    for wrong in (0.5, "0.5", None):
        refused("densities=.*: expected several fractions", lambda wrong=wrong: masks.grid(SCORES, wrong))
    assert masks.grid(SCORES, []) == {} and list(masks.grid(SCORES, (d / 10 for d in (5, 7)))) == [0.5, 0.7]


@pytest.mark.parametrize("wrong", ["a", 5, [5], [["a"]], None, b"a"], ids=str)
def test_skipped_names_are_names(wrong):
    refused("skip=.*: expected several names", lambda: masks.build(SCORES, 0.5, skip=wrong))


def test_scores_are_tensors_by_name():
    for wrong in ([SCORES["a"]], SCORES["a"], None, "a", 5):
        refused("scores are a .*: expected a mapping", lambda wrong=wrong: masks.build(wrong, 0.5))
    for wrong in ([[1.0]], np.ones(3), 1.0):
        refused("scores of 'c' are a .*: expected tensors", lambda wrong=wrong: masks.build(SCORES | {"c": wrong}, 0.5))
    refused("scores of 'c' are stored as torch.sparse_coo", lambda: masks.build({"c": torch.eye(2).to_sparse()}, 0.5))
    for scope in masks.ranking.SCOPES:
        refused("'c' lie on the meta", lambda s=scope: masks.build({"c": torch.ones(2, device="meta")}, 0.5, s))


@pytest.mark.parametrize("wrong", ["False", 0, None, 1.0, []], ids=str)
def test_a_switch_is_true_or_false(wrong):
    refused("invert=.*: expected True or False", lambda: masks.build(SCORES, 0.5, invert=wrong))


def test_budgets_and_shortcuts_are_named():
    model = net()
    for wrong in (["uniform"], None, 5):
        refused("budget=.*: expected one of uniform, erk", lambda wrong=wrong: masks.random(model, 0.5, wrong))
    for wrong in ("0.proj", 5, [5], [None]):
        refused("shortcuts=.*: expected several names", lambda w=wrong: masks.maskable(model, shortcuts=w))
    for wrong in ("a", None, math.nan, True, -1, [5]):
        for call in (masks.maskable, masks.left_whole):
            refused("small=.*: expected a number of weights, 0 or more", lambda c=call, w=wrong: c(model, small=w))
    assert masks.left_whole(model, small=1e9) == masks.left_whole(model, small=math.inf) == []


def test_weights_to_score_are_named():
    model = net()
    for wrong in ("0.weight", 5, [5], [None]):
        refused("names=.*: expected several names", lambda w=wrong: masks.scores(model, "magnitude", names=w))
    refused("names=.*: expected some of the model's", lambda: masks.scores(model, "magnitude", names=[]))


def test_what_a_criterion_reads_of_weights_is_tensors_by_name():
    def moved(weight, init):
        return weight - init

    model = net()
    start = {name: w.detach() for name, w in model.named_parameters()}
    for wrong in (torch.ones(6, 8), [torch.ones(6, 8)], None, "init"):
        refused("init are a .*: expected a mapping", lambda w=wrong: masks.scores(model, moved, init=w))
    for wrong in (np.ones((6, 8)), [[1.0]], torch.ones(6, 8, device="meta")):
        refused("'init' of '0.weight' is a .*: expected a tensor with values",
                lambda w=wrong: masks.scores(model, moved, init=start | {"0.weight": w}))  # fmt: skip
    for wrong in ({}, "x", SimpleNamespace(mean=1)):
        refused("statistics is a .*: expected what gradients.statistics",
                lambda w=wrong: masks.scores(model, "diff", statistics=w))  # fmt: skip
    assert not any(s.any() for s in masks.scores(model, moved, init=start).values())


def test_what_a_criterion_reads_of_units_is_a_tensor():
    def moved(weight, init):
        return (weight - init).flatten(1).norm(dim=1)

    for wrong in (np.ones((6, 8)), [[1.0]], 5, torch.ones(6, 8, device="meta")):
        refused(
            "'init' of '0' (is a|has no values).*: expected a tensor",
            lambda w=wrong: units.order(net(), "0", moved, init=w),
        )
    assert units.order(net(), "0", moved, init=torch.zeros(6, 8, requires_grad=True)).shape == (6,)


ODD = {  # functions that do not say what they read, or give no scores
    "a builtin": (torch.abs, "'abs' does not say what it reads"),
    "stars": (lambda *weight: weight[0], r"parameters \['\*weight'\]: each must be one of"),
    "two stars": (lambda **weight: 0, r"parameters \['\*\*weight'\]: each"),
    "by place": (eval("lambda weight, /: weight"), r"parameters \['weight, /'\]: each"),
    "another name": (lambda w: w, r"parameters \['w'\]"),
    "nothing": (lambda: 0, r"parameters \[\]"),
    "a list": (["norm"], r"unknown criterion \['norm'\]"),
    "no criterion": (None, "unknown criterion None"),
    "a number": (5, "unknown criterion 5"),
}


@pytest.mark.parametrize("name", ODD)
def test_a_criterion_says_what_it_reads(name):
    criterion, text = ODD[name]
    refused(text, lambda: units.order(net(), "0", criterion), lambda: masks.scores(net(), criterion))


def test_part_of_a_function_and_an_object_that_is_called_are_criteria():
    class Largest:
        def __call__(self, weight):
            return weight.abs()

    for criterion in (functools.partial(lambda weight, noise: weight.abs(), noise=1), Largest()):
        assert all((s >= 0).all() for s in masks.scores(net(), criterion).values())
    refused("'Largest' returned shape", lambda: units.order(net(), "0", Largest()))


def test_scores_are_real_numbers_in_a_plain_tensor():
    for wrong in (lambda weight: weight + 0j, lambda weight: weight.to_sparse(), lambda weight: weight.to("meta")):
        refused("returned scores of .* that are .*: expected real numbers", lambda w=wrong: masks.scores(net(), w))
    refused("expected real numbers", lambda: units.order(net(), "0", lambda weight: weight.sum(1) + 0j))


def test_what_is_no_function_is_not_registered():
    for wrong in (5, "norm", functools.partial(lambda weight: weight), [len]):
        refused(
            "expected a function",
            lambda w=wrong: criteria.unit_criterion(w),
            lambda w=wrong: criteria.weight_criterion(w),
        )
    assert criteria.whose(["norm"]) == criteria.whose("unheard of") == "yours"


@pytest.mark.parametrize("criterion", [lambda weight: weight.abs_(), lambda weight: weight.zero_()])
def test_a_criterion_that_writes_changes_no_weight(criterion):
    for kind in (torch.float32, torch.float64):
        model = net().to(kind)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        masks.scores(model, criterion)
        units.order(model, "0", lambda weight: criterion(weight).sum(1))
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("registry", [criteria.UNIT, criteria.WEIGHT], ids=["units", "weights"])
def test_none_of_the_library_s_criteria_writes_or_hands_on_what_it_reads_of_a_model(registry):
    shapes = dict.fromkeys(("weight", "init", "gradient", "diff"), (6, 8))
    shapes |= dict(
        activation=(5, 6, 2), activation_gradient=(5, 6, 2), noise=(6,) if registry is criteria.UNIT else (6, 8)
    )
    for name, function in registry.items():
        read = {r: torch.randn(shapes[r]) for r in criteria.needs(name)}
        before = {r: t.clone() for r, t in read.items()}
        returned = function(**read)
        for r, t in read.items():
            assert torch.equal(t, before[r]) and (r == "noise" or t.data_ptr() != returned.data_ptr()), (name, r)


def test_a_criterion_may_hold_on_to_what_it_reads():
    held, model, init = [], net(), {name: w.detach().clone() for name, w in net().named_parameters()}

    def kept(weight, init):
        held.extend((weight, init))
        return weight

    scores = masks.scores(model, kept, init=init)
    units.order(model, "0", lambda weight, init: kept(weight, init).sum(1), init=init["0.weight"].double())
    before = {k: v.clone() for k, v in model.state_dict().items()}
    for tensor in (*scores.values(), *held):
        tensor.fill_(7)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(torch.equal(v, dict(net().named_parameters())[k]) for k, v in init.items())


def test_activations_of_one_s_own_are_copies_too():
    def zeroed(activation):
        return activation.zero_().sum((0, 2))

    mine = torch.ones(5, 6, 1)
    assert units.order(net(), "0", zeroed, activation=mine).tolist() == list(range(6)) and mine.all()


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "3", math.nan, [1]], ids=str)
def test_a_limit_is_a_number_of_images(wrong):
    model = net()
    refused(
        "limit=.*; expected None or 1, 2",
        lambda: units.pruning_curve(model, "0", range(6), split(), limit=wrong),
        lambda: units.removal_losses(model, "0", split(), limit=wrong),
    )


def test_layers_and_orders_are_named():
    model = net()
    for wrong in (None, 0, ["0"], "", "1", "4", b"0"):
        refused(
            "has no units that can go",
            lambda w=wrong: units.order(model, w, "norm"),
            lambda w=wrong: units.remove(model, w, [0]),
        )
    for wrong in ([range(6)], None, range(6), "order"):
        refused("orders are a .*: expected a mapping", lambda w=wrong: units.pruning_curves(model, "0", w, split()))
    for wrong in (None, "abc", range(5), [0.0] * 6, torch.arange(6.0), [[0, 1, 2, 3, 4, 5]], object(), [True] * 6):
        refused("order 'order'", lambda w=wrong: units.pruning_curve(model, "0", w, split()))
    for wrong in (["lowest"], None, "low"):
        refused("remove=.*: expected 'lowest' or 'highest'", lambda w=wrong: units.order(model, "0", "norm", remove=w))
    assert units.pruning_curves(model, "0", {}, split()) == {}


NOT_MODELS = [None, 5, {}, nn.Linear, net().state_dict()]


@pytest.mark.parametrize("wrong", NOT_MODELS, ids=lambda wrong: type(wrong).__name__)
def test_a_model_is_a_module(wrong):
    refused(
        "model is a .*: expected an nn.Module",
        lambda: masks.scores(wrong, "magnitude"),
        lambda: masks.maskable(wrong),
        lambda: masks.left_whole(wrong),
        lambda: masks.random(wrong, 0.5),
        lambda: masks.counts(wrong, ONES),
        lambda: masks.to_torch(wrong, ONES),
        lambda: masks.from_torch(wrong),
        lambda: masks.sparse(wrong, ONES),
        lambda: masks.inference(net(), ONES, wrong, [1]),
        lambda: masks.inference(wrong, ONES, net(), [1]),
        lambda: units.order(wrong, "0", "norm"),
        lambda: units.pruning_curve(wrong, "0", range(6), split()),
        lambda: units.removal_losses(wrong, "0", split()),
        lambda: units.class_activations(wrong, "0", split()),
        lambda: units.remove(wrong, "0", [0]),
        lambda: units.zeroed(wrong, "0", [0]),
        lambda: units.place_of(wrong, "0"),
        lambda: models.prunable(wrong),
    )


def test_batches_and_rounds_are_whole_numbers():
    model = net()
    for batches in (5, "5", [0], [1.5], [True], [], None, [-1]):
        refused("batches=.*: expected some batch sizes", lambda b=batches: masks.inference(model, ONES, model, b))
    for rounds in (0, 1.5, "3", True, None):
        refused("rounds=.*at least one round", lambda r=rounds: masks.inference(model, ONES, model, [1], rounds=r))
    refused("lies on the meta device", lambda: masks.inference(model, ONES, net().to("meta"), [1]))


def test_compressed_rows_are_made_of_a_linear_layer_and_its_mask():
    ones = ONES["0.weight"]
    for layer, mask, text in [
        (nn.Conv1d(8, 6, 1), ones, "the layer is a Conv1d: expected an nn.Linear"),
        (nn.Linear(8, 6), ones.float(), "mask of 'weight' is torch.float32"),
        (nn.Linear(8, 6), ones.T, r"mask of 'weight' is torch.bool \[8, 6\]: expected bool \[6, 8\]"),
        (nn.Linear(8, 6), None, "masks of 'weight' are a NoneType"),
    ]:
        refused(text, lambda layer=layer, mask=mask: masks.SparseLinear(layer, mask))
    made = masks.SparseLinear(nn.Linear(8, 6), ones)
    for shape in ((8,), (2, 5, 8)):
        refused(r"compressed rows read \[images, 8\], not", lambda s=shape: made(torch.zeros(s)))


def test_widths_are_whole_numbers_and_ratios_are_numbers():
    for name, wrong in [("width", 2.5), ("width", "4"), ("width", True), ("inputs", 1.5), ("classes", None),
                        ("hidden", 2.0), ("inputs", -1)]:  # fmt: skip
        how = dict(width=8) | {name: wrong}
        refused(f"{name}=.*: expected a whole number", lambda how=how: masks.mlp_weights(**how),
                lambda how=how: masks.scaled_width(ratio=2, **how))  # fmt: skip
    refused("hidden=0: expected a whole number, 1 or more", lambda: masks.mlp_weights(8, hidden=0))
    for wrong in (math.nan, math.inf, "2", True, None):
        refused("ratio=.*: expected a number above 0", lambda w=wrong: masks.scaled_width(8, w))


def test_long_values_are_shown_in_short():
    assert given.shown("x" * 500) == "'" + "x" * 76 + "..." and given.shown("a\nb") == r"'a\nb'"
    assert given.shown(torch.zeros(2, 2)) == "tensor([[0., 0.], [0., 0.]])"
    given.check_tensors("x", {})
    given.check_flag("x", True)


def test_files_of_masks_are_named_and_nothing_half_written_stays(tmp_path, monkeypatch):
    right = {"a": torch.ones(2, 2).bool()}
    for wrong in (5, None, "", b"x", ["a"]):
        refused(
            "file=.*: expected the path of a file", lambda w=wrong: masks.save(w, right), lambda w=wrong: masks.load(w)
        )
    refused("is a folder: expected", lambda: masks.save(tmp_path, right), lambda: masks.load(tmp_path))
    refused("masks of 5: expected the weights' names", lambda: masks.save(tmp_path / "x", {5: right["a"]}))

    def full(_, part, **__):
        part.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("pruning_lab.masks.exchange.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        masks.save(tmp_path / "x", right)
    assert not [*tmp_path.iterdir()] and not tmp_path.with_name(tmp_path.name + ".part").exists()


class Doubled(nn.Linear):
    """Hands out twice its weight."""

    def __getattr__(self, name):
        found = super().__getattr__(name)
        return 2 * found if name == "weight" else found


def test_a_weight_that_is_not_what_is_asked_for_is_refused_before_the_first_mask():
    plain = nn.Linear(6, 3)
    del plain._parameters["weight"]
    plain.weight = torch.ones(3, 6)
    for layer in (Doubled(6, 3), plain):
        model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), layer)
        found = {"0.weight": torch.ones(6, 8).bool(), "2.weight": torch.ones(3, 6).bool()}
        refused(
            "the weight of '2' is computed from others.*a layer whose weight is an nn.Parameter",
            lambda model=model, found=found: masks.to_torch(model, found),
            lambda model=model: units.remove(model, "0", [1]),
            lambda model=model: units.order(model, "0", "norm"),
        )
        assert not masks.from_torch(model) and not model[0]._forward_pre_hooks


def test_what_cannot_be_copied_is_said():
    model = net()
    model.lock = threading.Lock()
    refused(
        "the model cannot be copied .*: take away what its modules hold beside tensors",
        lambda: units.remove(model, "0", [1]),
        lambda: units.zeroed(model, "0", [1]),
        lambda: masks.sparse(model, ONES),
        lambda: masks.inference(net(), ONES, model, [1]),
    )


@pytest.mark.parametrize(
    "wrong",
    [torch.tensor([1], device="meta"), torch.tensor([1]).to_sparse(), [[0, 1]], [2**70], {1}, "ab", np.array(["a"])],
    ids=["meta", "sparse", "nested", "huge", "a set", "words", "an array of words"],
)
def test_units_are_named_by_a_row_of_whole_numbers(wrong):
    refused(
        "removed=.*: expected numbers of units, 0..5",
        lambda: units.remove(net(), "0", wrong),
        lambda: units.zeroed(net(), "0", wrong),
    )
    refused("order 'order'=.*: expected numbers of units", lambda: units.pruning_curve(net(), "0", wrong, split()))


def test_classes_of_a_split_are_named():
    for wrong in (5, None, (), "abc"):
        data = SimpleNamespace(images=split().images, labels=split().labels, classes=wrong)
        refused(
            r"the split names 0 classes .*: expected the names of some",
            lambda d=data: units.class_activations(net(), "0", d),
        )


def test_models_of_one_s_own_are_functions_that_give_layers_by_name(monkeypatch):
    monkeypatch.setattr(models, "MODELS", dict(models.MODELS))
    for wrong in (5, "mlp", functools.partial(models.mlp)):
        refused("has no name to be registered under: expected a function", lambda w=wrong: models.register(w))
    for made in ([nn.Linear(2, 2)], {"out": 5}, None, nn.Linear(2, 2)):

        def mine(in_shape, classes, width, made=made):
            return made

        models.MODELS["mine"] = mine
        refused(
            "the function of 'mine' gives .*: expected a dictionary of layers", lambda: models.build("mine", (1, 4, 4))
        )
    models.MODELS["mine"] = lambda in_shape, classes, width: {"out": nn.Linear(2, 2)}
    assert models.build("mine", (1, 4, 4)).out.in_features == 2


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_nets_without_inputs_are_timed_too():
    model = nn.Sequential(nn.Linear(0, 4), nn.ReLU(), nn.Linear(4, 3))
    table = masks.inference(model, {"2.weight": torch.eye(3, 4).bool()}, model, [2], rounds=1).set_index("net")
    assert table.multiplications["dense"] == 12 and table.multiplications["csr"] == 3


def test_pools_sweeps_and_plans_say_what_they_expect():
    for wrong in (0, -1, 2.5, "2", True, None, 10**9):
        refused("workers=.*: expected a whole number from 1 to 1024", lambda w=wrong: pruning_lab.pool(w))
    for wrong in (5, None, "mlp", [5], ["mlp"]):
        refused("sweep was given a .*: expected", lambda w=wrong: pruning_lab.sweep(w))
    for wrong in (5, None, ["01"]):
        refused(
            "no chapter .*: expected a number, a name or a path", lambda w=wrong: pruning_lab.chapters.plan(w, "smoke")
        )
    for wrong in (5, ["seeds"], "seeds"):
        refused("parameters are a .*: expected a mapping", lambda w=wrong: pruning_lab.chapters.plan("01", "smoke", w))
    assert pruning_lab.chapters.plan("01", "smoke") == pruning_lab.chapters.plan(
        pruning_lab.chapters.chapter("1"), "smoke"
    )


class Full(nn.Module):
    """Needs more memory than there is, when it runs or when it is copied."""

    def forward(self, x):
        raise torch.OutOfMemoryError("no memory left")

    def __deepcopy__(self, memo):
        if getattr(self, "copies", False):
            return self
        raise torch.OutOfMemoryError("no memory left")


def test_a_device_without_memory_says_so_itself():
    full = Full()
    for call in (
        lambda: units.remove(nn.Sequential(*net()[:3], full), "0", [1]),
        lambda: masks.scores(nn.Sequential(*net()[:3], full), "gradient", data=split()),
        lambda: models.multiplications(nn.Sequential(net(), full), (8,)),
    ):
        with pytest.raises(torch.OutOfMemoryError, match="no memory left"):
            call()
    full.copies = True
    with pytest.raises(torch.OutOfMemoryError, match="no memory left"):
        models.multiplications(nn.Sequential(net(), full), (8,))
