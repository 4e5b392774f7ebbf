"""Sparse nets against loops over single weights, and their sizes against numbers worked out by hand; no test asks how
long it took.
"""

import copy
import json
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import prune

from pruning_lab import InferenceSpeed, gather, masks
from pruning_lab.masks import speed
from pruning_lab.nets import models
from pruning_lab.records import provenance, store

NETS = ["dense", "masked", "csr", "smaller"]
E = InferenceSpeed(4, shape=(1, 3, 2), classes=3, density=0.2, batches=(1, 5), rounds=2)


@pytest.fixture(autouse=True)
def shelves(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNING_LAB_STORE", str(tmp_path / "local"))
    monkeypatch.setenv("PRUNING_LAB_RESULTS", str(tmp_path / "published"))
    store.forget()


def mlp(width=2, hidden=1, seed=0):
    """4 inputs, `hidden` layers of `width` units, 3 classes."""
    return models.build("mlp", (1, 2, 2), 3, width, seed, hidden=hidden)


def kept():
    """Masks of `mlp()`: three of fc1's eight weights stay, and two of out's six; one unit and one class lose all
    theirs.
    """
    fc1, out = torch.zeros(2, 4, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.bool)
    fc1[0, 1] = fc1[0, 3] = fc1[0, 0] = out[2, 0] = out[0, 1] = True
    return {"fc1.weight": fc1, "out.weight": out}


def images(n, inputs=4, seed=3):
    return torch.randn(n, inputs, generator=torch.Generator().manual_seed(seed))


def naive(model, found, x):
    """Outputs [images, classes] of a masked multilayer net, weight by weight in float64."""
    rows = x.flatten(1).tolist()
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    for k, (name, layer) in enumerate(layers):
        mask = found.get(f"{name}.weight", torch.ones_like(layer.weight, dtype=torch.bool)).tolist()
        weight, new = layer.weight.tolist(), []
        bias = [0.0] * len(weight) if layer.bias is None else layer.bias.tolist()
        for row in rows:
            sums = []
            for ws, stays, b in zip(weight, mask, bias, strict=True):
                sums.append(b + sum(w * a for w, a, here in zip(ws, row, stays, strict=True) if here))
            new.append(sums if k == len(layers) - 1 else [max(0.0, v) for v in sums])
        rows = new
    return torch.tensor(rows, dtype=torch.float64)


# What the sparse net computes


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([1, 2, 7]),
    st.sampled_from([1, 3, 9]),
    st.sampled_from([0.02, 0.1, 0.5, 1.0]),
    st.integers(1, 3),
    st.integers(0, 5),
)
def test_outputs_are_the_masked_nets(n, width, density, hidden, seed):
    model = mlp(width, hidden, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", masks.EmptyLayer)
        found = masks.random(model, density, seed=seed)
    sparse = masks.sparse(model, found)
    expected = naive(model, found, images(n, seed=seed))
    with torch.no_grad():
        torch.testing.assert_close(sparse(images(n, seed=seed)).double(), expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            sparse(images(n, seed=seed).view(n, 1, 2, 2)).double(), expected, rtol=1e-5, atol=1e-5
        )


@pytest.mark.parametrize("n", [1, 4])
def test_layers_without_bias_and_without_weights(n):
    model = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2)).eval()
    found = {"0.weight": torch.zeros(3, 4, dtype=torch.bool), "2.weight": torch.ones(2, 3, dtype=torch.bool)}
    assert torch.equal(masks.sparse(model, found)(images(n)), model[2].bias.expand(n, 2))
    found["0.weight"][1, 2] = True
    torch.testing.assert_close(
        masks.sparse(model, found)(images(n)).double(), naive(model, found, images(n)), rtol=1e-5, atol=1e-6
    )


def test_layers_are_compressed_rows_of_what_the_mask_keeps():
    model, found = mlp(), kept()
    with torch.no_grad():
        model.fc1.weight[0, 3] = 0.0  # it stays, though it is zero
    before = copy.deepcopy(model.state_dict())
    layer = masks.sparse(model, found).fc1
    values, columns, rows = layer.stored()
    assert layer.weight.layout == torch.sparse_csr and layer.weight.shape == (2, 4)
    assert columns.tolist() == [0, 1, 3] and rows.tolist() == [0, 3, 3] and {columns.dtype, rows.dtype} == {torch.int32}
    assert torch.equal(values, model.fc1.weight[0, [0, 1, 3]]) and not values.requires_grad
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training


def test_what_has_no_mask_stays_dense():
    model = mlp()
    sparse = masks.sparse(model, {"fc1.weight": kept()["fc1.weight"]})
    assert isinstance(sparse.fc1, masks.SparseLinear) and isinstance(sparse.out, nn.Linear) and not sparse.training
    found = {"fc1.weight": kept()["fc1.weight"]}
    torch.testing.assert_close(sparse(images(3)).double(), naive(model, found, images(3)), rtol=1e-5, atol=1e-6)


def test_only_the_remark_on_beta_is_kept_back():
    with pytest.warns(UserWarning) as told, speed._beta():
        for text in (
            "Sparse CSR tensor support is in beta state. If you miss",
            "Sparse invariant checks are implicitly disabled",
        ):
            warnings.warn(text, UserWarning, stacklevel=1)
    assert [str(w.message)[:17] for w in told] == ["Sparse invariant "]


# The table


def test_sizes_are_those_worked_out_by_hand():
    table = masks.inference(mlp(), kept(), mlp(1), [1, 3], rounds=2)
    assert table.net.tolist() == 2 * NETS and table.batch.tolist() == [1] * 4 + [3] * 4
    # 8 + 6 weights and 2 + 3 biases; 5 weights stay, with 5 columns and 3 + 4 pointers; 4 + 3 weights and 1 + 3 biases
    assert table.parameters.tolist() == 2 * [19, 19, 10, 11]
    assert table.multiplications.tolist() == 2 * [14, 14, 5, 7]
    assert table.bytes.tolist() == 2 * [4 * 19, 4 * 19, 4 * (5 + 5 + 3 + 4 + 5), 4 * 11]
    assert (table.device == "cpu").all() and (table.threads == torch.get_num_threads()).all()
    assert np.isfinite(table[["milliseconds", "low", "high", "of_dense"]]).all(axis=None)
    assert (table.of_dense[table.net == "dense"] == 1).all()


def test_sizes_are_those_of_other_functions():
    model, width = mlp(40, 4), masks.scaled_width(40, 0.1, 4, 3)
    found = masks.random(model, 0.1)
    table = masks.inference(model, found, mlp(width, 4), [2], rounds=1).set_index("net")
    assert table.multiplications["dense"] == models.multiplications(model, (1, 2, 2)) == masks.mlp_weights(40, 4, 3)
    assert table.multiplications["csr"] == masks.counts(model, found)["kept"]
    assert table.multiplications["smaller"] == masks.mlp_weights(width, 4, 3)
    assert table.parameters["dense"] == sum(p.numel() for p in model.parameters())


def test_nets_are_those_that_the_columns_name():
    model, found = mlp().train(), kept()
    before = copy.deepcopy(model.state_dict())
    nets = speed._nets(model, found, mlp(1).double())
    assert list(nets) == NETS and not any(net.training for net in nets.values())
    assert all(torch.equal(v, before[k]) for k, v in nets["dense"].state_dict().items())
    assert all(torch.equal(nets["masked"].get_parameter(n), model.get_parameter(n) * m) for n, m in found.items())
    assert nets["smaller"].fc1.weight.dtype == torch.float32 and nets["smaller"].fc1.weight.shape == (1, 4)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and model.training


class Clock:
    """Time that passes only where a net says so, and what happened in which order."""

    def __init__(self):
        self.now, self.log = 0.0, []

    def read(self):
        self.log.append("clock")
        return self.now

    def wait(self, device):
        self.log.append("wait")

    def net(self, name, seconds):
        """A net whose k-th call takes `seconds(k)`."""
        calls = iter(range(1000))

        def run(x):
            self.log.append(name)
            self.now += seconds(next(calls))
            return x

        return run


@pytest.fixture
def clock(monkeypatch):
    found = Clock()
    monkeypatch.setattr(speed.time, "perf_counter", found.read)
    monkeypatch.setattr(speed, "_wait", found.wait)
    return found


def test_every_net_has_its_turn_in_every_round_and_is_warm_then(clock):
    nets = {name: clock.net(name, lambda k: 1.0) for name in NETS}
    speed._milliseconds(nets, images(2), rounds=5)
    start = ["masked", "csr", *NETS * speed.WARM]  # outputs are compared first
    assert clock.log[: len(start)] == start
    turns = [clock.log[k : k + 6] for k in range(len(start), len(clock.log), 6)]
    assert all(turn == [turn[0], "wait", "clock", turn[0], "wait", "clock"] for turn in turns)
    order = [turn[0] for turn in turns]
    assert order == [NETS[(first + k) % 4] for first in (0, 1, 2, 3, 0) for k in range(4)]


def test_medians_quartiles_and_ratios_are_over_rounds(clock, monkeypatch):
    timed = {
        "dense": [0.004, 0.001, 0.002],
        "masked": [0.001, 0.002, 0.004],
        "csr": [0.001] * 3,
        "smaller": [0.002] * 3,
    }
    before = {"dense": 3, "masked": 4, "csr": 4, "smaller": 3}  # calls before the first turn

    def seconds(name):
        return lambda k: timed[name][(k - before[name]) // 2] if k >= before[name] and (k - before[name]) % 2 else 7.0

    nets = {name: clock.net(name, seconds(name)) for name in NETS}
    monkeypatch.setattr(speed, "_nets", lambda *_: nets)
    monkeypatch.setattr(speed, "_size", lambda _: {})
    table = masks.inference(mlp(), kept(), mlp(1), [2], rounds=3).set_index("net")
    assert table.milliseconds.tolist() == pytest.approx([2, 2, 1, 2])
    assert table.low.tolist() == pytest.approx([1.5, 1.5, 1, 2]) and table.high.tolist() == pytest.approx([3, 3, 1, 2])
    # masked: the median of 1/4, 2 and 2; csr: of 1/4, 1 and 1/2
    assert table.of_dense.tolist() == pytest.approx([1, 2, 0.5, 1])


def test_a_gpu_is_waited_for_and_a_cpu_is_not(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    speed._wait(torch.device("cpu"))
    assert not waited
    speed._wait(torch.device("cuda:0"))
    assert waited == [torch.device("cuda:0")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_same_on_cuda():
    model, found = mlp(8, 3).cuda(), masks.random(mlp(8, 3), 0.3)
    for n in (1, 5):
        with torch.no_grad():
            outputs = masks.sparse(model, found)(images(n).cuda()).cpu().double()
        torch.testing.assert_close(outputs, naive(model, found, images(n)), rtol=1e-4, atol=1e-5)
    assert (masks.inference(model, found, mlp(2), rounds=2).device == "cuda").all()


# What cannot be compared


def test_other_outputs_than_the_masked_nets_are_an_error(monkeypatch):
    wrong = kept()
    wrong["out.weight"][1, 1] = True  # reads a unit that is not always silent
    monkeypatch.setattr(speed, "sparse", lambda model, _, right=speed.sparse: right(model, wrong))
    model = mlp()
    with torch.no_grad():
        model.fc1.bias.fill_(1.0)
    with pytest.raises(AssertionError, match="compressed rows differ"):
        masks.inference(model, kept(), mlp(1), [4], rounds=1)


def test_outputs_that_are_not_finite_are_an_error():
    with pytest.raises(AssertionError, match="nan"):
        speed._check_outputs(torch.tensor([1.0, float("nan")]), torch.tensor([1.0, 2.0]))


def bad_models():
    yield nn.Sequential(nn.Flatten(), nn.ReLU()), "layers with parameters: none; expected linear ones"
    yield nn.Linear(4, 3), "layers with parameters: Linear; expected"
    yield models.build("conv_2", (1, 4, 4), 3, 2), "conv1 Conv2d"
    yield nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.Linear(2, 3)), "1 BatchNorm1d"
    pruned = mlp()
    prune.random_unstructured(pruned.fc1, "weight", 0.5)
    yield pruned, r"weights of \['fc1'\] are computed"


@pytest.mark.parametrize(
    "model, message", [*bad_models()], ids=["no layer", "no net", "convolutions", "norms", "computed weights"]
)
def test_only_nets_of_plain_linear_layers(model, message):
    with pytest.raises(ValueError, match=message):
        masks.sparse(model, kept())
    with pytest.raises(ValueError, match=message):
        masks.inference(mlp(), kept(), model)


def test_masks_must_be_the_models():
    for wrong, message in (
        ({}, r"no masks: expected some for \['fc1.weight', 'out.weight'\]"),
        (kept() | {"fc9.weight": torch.ones(1, dtype=torch.bool)}, r"masks for \['fc9.weight'\]"),
        (kept() | {"fc1.weight": torch.ones(4, 2, dtype=torch.bool)}, r"bool \[4, 2\]: expected bool \[2, 4\]"),
        (kept() | {"fc1.weight": torch.ones(2, 4)}, r"torch.float32 \[2, 4\]"),
    ):
        for call in (
            lambda w=wrong: masks.sparse(mlp(), w),
            lambda w=wrong: masks.inference(mlp(), w, mlp(1), rounds=1),
        ):
            with pytest.raises(ValueError, match=message):
                call()


@pytest.mark.parametrize(
    "how, message",
    [
        (dict(batches=[]), "batch sizes of at least 1"),
        (dict(batches=[4, 0]), "batch sizes of at least 1"),
        (dict(rounds=0), "at least one round"),
        (
            dict(smaller=models.build("mlp", (1, 2, 2), 4, 1, hidden=1)),
            r"\(4, 4\) inputs and outputs: expected \(4, 3\)",
        ),
        (
            dict(smaller=models.build("mlp", (1, 2, 3), 3, 1, hidden=1)),
            r"\(6, 3\) inputs and outputs: expected \(4, 3\)",
        ),
    ],
)
def test_bad_arguments(how, message):
    with pytest.raises(ValueError, match=message):
        masks.inference(mlp(), kept(), **dict(smaller=mlp(1)) | how)


def test_a_device_without_compressed_rows_is_named():
    with pytest.raises(ValueError, match="not computed on 'meta'.*PRUNING_LAB_DEVICE=cpu"):
        masks.sparse(mlp().to("meta"), kept())


# The experiment


def test_a_record_has_the_table_and_the_devices_name():
    record = store.run(E)
    narrow, wide = masks.mlp_weights(4, 6, 3), masks.mlp_weights(E.wide, 6, 3)
    assert E.wide == masks.scaled_width(4, 10, 6, 3) and wide == pytest.approx(10 * narrow, rel=0.1)
    assert record.table.net.tolist() == 2 * NETS and record.table.batch.tolist() == [1] * 4 + [5] * 4
    assert record.table.multiplications[:4].tolist() == [wide, wide, round(0.2 * wide), narrow]
    assert record.meta["device"] == provenance.device() and record.meta["device"]["name"]
    assert store.publish(E).joinpath("record.json").is_file() and store.find(E).shelf == "published"


def test_of_seeds_and_widths_one_table_is_made():
    sweep = [replace(E, seed=1), replace(E, width=5, rounds=1, batches=(2,))]
    for e in sweep:
        store.run(e)
    table = gather(sweep)
    assert table.groupby("width").size().to_dict() == {4: 8, 5: 4} and set(table.seed) == {0, 1}
    assert len({e.key for e in [E, *sweep]}) == 3 and E.cost() > 0 and json.dumps(E.config())


def test_settings_reach_the_comparison_and_another_seed_has_other_masks(monkeypatch):
    seen, real = [], masks.inference

    def watched(model, kept, smaller, batches, **how):
        seen.append((model, kept))
        assert batches == E.batches and how["rounds"] == E.rounds and smaller.fc1.weight.shape == (E.width, 6)
        return real(model, kept, smaller, batches, **how)

    monkeypatch.setattr(masks, "inference", watched)
    for e in (E, replace(E, seed=1), E):
        e.compute()
    (first, one), (other, two), (_, three) = seen
    assert all(torch.equal(one[n], three[n]) for n in one) and not all(torch.equal(one[n], two[n]) for n in one)
    assert not torch.equal(first.fc1.weight, other.fc1.weight) and first.fc1.weight.shape == (E.wide, 6)


def test_its_code_belongs_to_the_answer_and_times_are_named():
    assert {"masks.speed", "masks.width", "experiments.speed"} <= E.code().keys() and "training.fit" not in E.code()
    assert set(E.timed) < set(store.run(E).table) and "batch" not in E.timed
