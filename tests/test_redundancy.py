"""The redundancy of a given net: planted dead and repeated units, slow twins, refusals as rows, prices."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pruning_lab import metrics, models, redundancy, units
from pruning_lab.redundancy import angles, curves, looks, pace, parts, prices, savings, sight
from pruning_lab.redundancy.found import ALL, COLUMNS
from pruning_lab.redundancy.prefix import Prefix
from pruning_lab.redundancy.quiet import accuracy


def split(n=60, shape=(1, 4, 4), classes=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    images = torch.randn(n, *shape, generator=draw)
    return SimpleNamespace(images=images, labels=images.flatten(1)[:, :classes].argmax(1))


def net(seed=0, hidden=8):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(16, hidden), nn.ReLU(), nn.Linear(hidden, 5), nn.ReLU(), nn.Linear(5, 3)
    )


def planted():
    """A net whose unit 2 never fires and whose unit 5 repeats unit 1, half as long."""
    model = net()
    with torch.no_grad():
        model[1].weight[2] = 0
        model[1].bias[2] = -1
        model[1].weight[5] = model[1].weight[1] / 2
        model[1].bias[5] = model[1].bias[1] / 2
    return model


class TwoInputs(nn.Module):
    def forward(self, x, y):
        return x.flatten(1)[:, :3] + y


@pytest.mark.parametrize(
    "model, shape, said",
    [
        (net(), (1, 5, 5), r"Sequential does not take images \[1, 5, 5\]: RuntimeError: mat1 .*; expected a net"),
        (nn.Conv2d(1, 3, 3), (8, 8), r"Conv2d does not take images \[8, 8\]: .*images\[:, None\] has one channel"),
        (TwoInputs(), (1, 4, 4), r"TwoInputs does not take images \[1, 4, 4\]: TypeError: .*'y'; expected a net whose"),
    ],
)
def test_a_net_that_does_not_take_the_images_is_told_in_one_sentence(model, shape, said):
    for ask in (redundancy.report, redundancy.price):
        with pytest.raises(ValueError, match=said):
            ask(model, split(shape=shape))


class Branched(nn.Module):
    """Two layers whose outputs are added: no plain row."""

    def __init__(self, mixes=False):
        super().__init__()
        self.a, self.b, self.out = nn.Linear(16, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.mixes = mixes

    def forward(self, x):
        x = self.a(x.flatten(1)).relu()
        x = x + self.b(x).relu()
        return self.out(x - x.mean(0) if self.mixes else x)


def bits(model):
    return {name: t.clone() for name, t in model.state_dict().items()}


def test_dead_and_repeated_units_are_found_where_they_were_planted():
    found = redundancy.report(planted(), split(), split(seed=1), minutes=0.02)
    first = found.layers.iloc[0]
    assert (first.layer, first.units, first.dead, first.repeated) == ("1", 8, 1, 1)
    of = found.units[found.units.layer == "1"].set_index("unit")
    assert of.moved[2] == 0 and of.worth[2] == 0 and list(of.index[of.repeats]) == [5]
    assert of.nearest[5] == pytest.approx(1) and of.nearest[2] == 0
    assert found.layers.reason.iloc[-1] == "the model's outputs" and np.isnan(found.layers.free.iloc[-1])


def test_every_table_has_its_columns_and_each_layer_its_row():
    found = redundancy.report(net(), split(), split(seed=1), minutes=0.02)
    for name, table in found.tables().items():
        assert list(table.columns) == list(COLUMNS[name]) and "layer" in table, name
    for name in ("layers", "why", "spectra", "masks"):
        assert list(found.tables()[name].layer) == ["1", "3", "5"], name
    assert list(found.gradients.layer) == [ALL, "1", "3", "5"]
    assert found.masks.kept.sum() == round(0.1 * found.masks.weights.sum())
    assert found.parameters == 16 * 8 + 8 + 8 * 5 + 5 + 5 * 3 + 3 and found.multiply_adds == 16 * 8 + 8 * 5 + 5 * 3


def test_a_net_stays_as_it_is():
    model = planted().train()
    model[1].weight.requires_grad_(False)
    before, flags = bits(model), [m.training for m in model.modules()]
    redundancy.report(model, split(), minutes=0.02)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert [m.training for m in model.modules()] == flags and all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_what_the_loss_says_of_units_is_that_of_a_slow_loop_over_images():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).double()
    data = SimpleNamespace(images=split(9).images.double(), labels=split(9).labels)
    found = sight.seen(model, data, ["0", "3"])
    moved, worth = torch.zeros(4, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    for x, y in zip(data.images, data.labels, strict=True):
        output = model[0](x[None]).detach().requires_grad_()
        loss = F.cross_entropy(model[3](output.relu().flatten(1)), y[None])
        (slope,) = torch.autograd.grad(loss, output)
        moved += (slope != 0).flatten(2).any(2)[0]
        worth += (output * slope).sum((2, 3))[0].abs()
    torch.testing.assert_close(found["0"].moved, moved / 9)
    torch.testing.assert_close(found["0"].worth, (worth / 9).detach())


def test_units_on_tokens_are_read_by_their_last_axis():
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3))
    data = SimpleNamespace(images=torch.randn(5, 4, 4), labels=torch.arange(5) % 3)
    assert sight.seen(model, data, ["0"])["0"].moved.shape == (6,)


@pytest.mark.parametrize("fallen", [1, 2, 5, 12, 16, 17])
def test_a_walk_in_steps_says_no_more_than_is_true(fallen):
    looks_at = []

    def look(count):
        looks_at.append(count)
        return 0.9 if count < fallen else 0.5

    found = curves.walked(look, 16, 0.9)
    assert found.free < fallen and found.free in found.points and found.points[found.free] == 0.9
    assert all(found.points[c] == 0.5 for c in found.points if c > found.free)
    assert len(looks_at) <= len(curves.STEPS) + curves.HALVINGS


def test_no_set_of_units_is_looked_at_twice():
    asked = []
    look = curves.remembered(lambda removed: asked.append(removed.tolist()) or len(removed) / 10)
    assert [look(torch.tensor(units_)) for units_ in ([2, 1], [1, 2], [1], [1, 2])] == [0.2, 0.2, 0.1, 0.2]
    assert asked == [[2, 1], [1]]


def test_exact_curves_say_what_the_metric_of_removable_units_says_and_steps_agree_with_them():
    model, data = net(), split()
    part = parts.parts(model, data.images[:2])[0]
    ways = parts.orders(model, part, sight.seen(model, data, ["1"])["1"])
    found = curves.exact(model, part, ways, data, 60)
    assert {criterion for criterion, _ in ways} == {*parts.CRITERIA, "random"}
    for key, order in ways.items():
        whole = units.pruning_curve(model, "1", order, data)
        assert found[key].free == round(metrics.removable(whole.accuracy.numpy()) * 8)
        some = curves.stepped(curves.looking(model, part, data, 60, None), part, order, accuracy(model, data))
        for removed, value in some.points.items():
            assert value == pytest.approx(found[key].points[removed])


def test_savings_are_those_of_nets_that_are_really_smaller():
    model, data = net(), split()
    first, second, _ = parts.parts(model, data.images[:2])
    best = {first: (torch.arange(8), 4), second: (torch.arange(5), 5)}
    found = savings.savings(model, best, data, 60)
    small = units.remove(units.remove(model, "1", [0, 1, 2, 3]), "3", [0, 1, 2, 3])  # one unit stays
    assert list(found.units) == [0, 4, 8] and list(found.left_out) == [0, 0.5, 1]
    assert found.parameters.iloc[-1] == sum(p.numel() for p in small.parameters())
    assert found.accuracy.iloc[-1] == accuracy(small, data) and (found.milliseconds > 0).all()


def test_where_nothing_can_be_spared_savings_say_so():
    found = savings.savings(net(), {}, split(), 10)
    assert "no layer can spare" in found.reason.iloc[-1] and np.isnan(found.milliseconds.iloc[-1])


def test_what_a_net_refuses_is_a_row_and_stops_nothing():
    found = redundancy.report(Branched(mixes=True), split(), minutes=0.02)
    assert len(found.gradients) == 1 and found.gradients.layer[0] == ALL and found.gradients.reason[0]
    assert list(found.spectra.layer) == ["a", "b", "out"] and not found.spectra.stable_rank.isna().any()
    assert set(found.layers.layer) >= {"out"} and found.measured_on == "train"


class Residual(nn.Module):
    """A stream that two convolutions write to, activations in place."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(4, 6, 1)
        self.norm, self.relu, self.out = nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.Linear(6, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        inside = self.norm(self.two(self.relu(self.one(x))))
        inside += x
        return self.out(self.relu(inside).mean((2, 3)))


@pytest.fixture
def traced():
    """Groups of a residual net and its images; skipped where Torch-Pruning is not here."""
    pytest.importorskip("torch_pruning")
    from pruning_lab.units import coupled

    torch.manual_seed(0)
    model, data = Residual().eval(), split(70)
    return model, data, coupled.groups(model, data.images[:2])


def test_accuracy_behind_what_is_kept_is_that_of_the_whole_pass(traced, monkeypatch):
    from pruning_lab.redundancy import prefix as module
    from pruning_lab.units import coupled

    model, data, groups = traced
    monkeypatch.setattr(module, "BATCH", 32)
    before, prefix = bits(model), Prefix(model, data, 70)
    free = [group for group in groups if group.tied is None]
    assert [group.name for group in free] == ["stem", "one"] and set(prefix.kept) == {"stem", "one", "two", "out"}
    for group in free:
        order = torch.randperm(group.units)
        for count in range(group.units + 1):
            slow = coupled.group_curve(model, group, order, data, [count], 70).accuracy[0]
            assert prefix.accuracy(group, order[:count].tolist()) == pytest.approx(float(slow))
    assert prefix._before({"two"}) == ["stem", "one"] and prefix._before({"one", "out"}) == ["stem"]
    assert prefix._before({"elsewhere"}) == []
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


def test_what_does_not_fit_into_memory_is_computed_each_time(traced, monkeypatch):
    from pruning_lab.redundancy import prefix as module

    model, data, groups = traced
    whole = Prefix(model, data, 70).accuracy(groups[0], [0, 1])
    monkeypatch.setattr(module, "BYTES", 0)
    assert not (none := Prefix(model, data, 70)).kept and none.accuracy(groups[0], [0, 1]) == whole


def test_units_that_go_together_are_in_the_report_of_a_net_with_branches(traced):
    model, data, groups = traced
    found = redundancy.report(model, data, minutes=0.05)
    layers = found.layers.set_index("layer")
    assert layers.kind["stem"] == "stream" and layers.free[["stem", "one"]].notna().all() and layers.reason["out"]
    assert found.savings.reason.iloc[-1] or found.savings.parameters.iloc[-1] < found.parameters


def test_an_error_of_somebody_else_s_net_is_told_in_one_line():
    def fails():
        raise RuntimeError("line one\nline two")

    assert list(looks.tried("spectra", fails).reason) == ["RuntimeError: line one line two"]


def test_lengths_or_angles_explain_what_they_made():
    torch.manual_seed(0)
    part, size = SimpleNamespace(name="fc"), torch.arange(1, 41, dtype=torch.float64)
    weight = F.normalize(torch.randn(40, 60, dtype=torch.float64), dim=1) * size[:, None]
    told = angles.why(part, angles.of_units("fc", weight, sight.Seen(size, size)))
    assert told["by"] == "norm" and told["norm"] == pytest.approx(1)
    table = angles.of_units("fc", weight[torch.randperm(40)], None)
    alone = torch.from_numpy(-table.overlap.to_numpy())
    told = angles.why(part, table.assign(worth=alone.exp().numpy(), moved=1.0))
    assert told["by"] == "angle" and told["angle"] == pytest.approx(1)
    assert "no order" in angles.why(part, table[:2].assign(worth=1.0))["reason"]


def test_edges_are_the_pairs_nearer_than_chance():
    weight = torch.eye(40, dtype=torch.float64)[:6].repeat(2, 1)
    found = angles.edges("fc", weight)
    assert sorted(zip(found.one, found.other, strict=True)) == [(k, k + 6) for k in range(6)]
    assert (found.cosine == 1).all() and set(found.layer) == {"fc"}


def test_a_price_is_told_before_anything_starts_and_more_time_means_more_images():
    model, data, said = net(hidden=32), split(4000), []
    redundancy.report(model, data, minutes=0.02, say=said.append)
    assert said[0].startswith("about ") and "accuracy on " in said[0]
    assert said[3:5] == ["  1 of 2: looking at layer 1, 32 units", "  2 of 2: looking at layer 3, 5 units"]
    asked = redundancy.price(model, data)
    assert {"curves", "gradients", "groups", "spectra", "masks", "savings", "sight"} == set(asked)
    assert min(asked.values()) > 0
    found = parts.parts(model, data.images[:2])
    few, many = (prices.budget(model, data, found, minutes, 10**6).images for minutes in (0.001, 1.0))
    assert few < many


@pytest.mark.parametrize(
    "there, minutes, told",
    [
        (60, 10.0, "; one image is 1.7 points of accuracy: curves are finer with more images"),
        (4000, 1e-9, "; one image is 3.1 points of accuracy: curves are finer with 1 minute"),
        (4000, 1.0, ""),
    ],
)
def test_what_few_images_cannot_tell_is_said_with_the_price(there, minutes, told):
    said = []
    redundancy.report(net(), split(there), minutes=minutes, say=said.append)
    assert told in said[0] and ("one image" in said[0]) == bool(told)


def test_where_time_is_short_layers_all_along_the_net_are_left_and_say_so():
    model = nn.Sequential(
        nn.Flatten(), *(m for _ in range(6) for m in (nn.Linear(16, 16), nn.ReLU())), nn.Linear(16, 3)
    )
    data, found = split(), parts.parts(model, split().images[:2])
    assert not prices.budget(model, data, found, 10.0).left
    short = prices.budget(model, data, found, 1e-9)
    assert len(short.left) == 5 and short.images == prices.FEWEST and "1" not in short.left
    report = redundancy.report(model, data, minutes=1e-9)
    layers = report.layers.set_index("layer")
    assert (layers.reason[list(short.left)].str.startswith("no time for it")).all()
    assert layers.free[list(short.left)].isna().all() and layers.dead.notna().all() and layers.free.notna()["1"]


def test_work_that_takes_longer_than_priced_says_what_it_takes_now():
    now, said = [0.0], []
    at = pace.Pace(expected=60, size=6, after=20, say=said.append, clock=lambda: now[0])
    for now[0], told in [(4.0, 0), (11.0, 0), (60.0, 1), (80.0, 1), (150.0, 2), (400.0, 2)]:
        at.went(1)  # 10 s each: 4 s a bit of luck, 11 s within what is not told, the last has nothing behind it
        assert len(said) == told
    assert said[0] == "  2.0 times slower than priced (is the machine busy?): about 100 s more"
    assert said[1] == "  3.0 times slower than priced (is the machine busy?): about 90 s more"


def test_a_report_on_a_busy_machine_tells_the_new_price_meanwhile(monkeypatch):
    said = []
    monkeypatch.setattr(pace, "SLOWER", 0), monkeypatch.setattr(pace, "SURE", 1e9)
    redundancy.report(net(hidden=32), split(100), minutes=0.02, say=said.append)
    assert not any("slower" in line for line in said)
    monkeypatch.setattr(pace, "SURE", 0)
    redundancy.report(net(hidden=32), split(100), minutes=0.02, say=said.append)
    slower = [k for k, line in enumerate(said) if "slower than priced" in line]
    assert len(slower) == 1 and "looking at layer 1" in said[slower[0] - 1]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), "two", True])
def test_minutes_are_a_number_above_zero(minutes):
    with pytest.raises(ValueError, match="expected a number above 0"):
        redundancy.report(net(), split(), minutes=minutes)


def test_labels_that_do_not_fit_the_net_are_refused():
    data = split()
    with pytest.raises(ValueError, match="labels go from"):
        redundancy.report(net(), SimpleNamespace(images=data.images, labels=data.labels + 7))
    with pytest.raises(ValueError, match="floating-point"):
        redundancy.report(net(), SimpleNamespace(images=data.images.byte(), labels=data.labels))


def test_a_matrix_too_large_is_a_row_with_the_reason(monkeypatch):
    monkeypatch.setattr(prices, "LONGEST", 0.0)
    found = looks.spectra(net())
    assert found.stable_rank.isna().all() and found.reason.str.startswith("too large").all()


def test_a_mask_names_layers_of_which_nothing_is_left():
    model = copy.deepcopy(net())
    with torch.no_grad():
        model[3].weight.mul_(1e-6)
    found = looks.masked(model)
    assert found.reason[1] == "nothing is left: nothing passes" and found.kept[1] == 0


class Recurrent(nn.Module):
    """Most weights in an LSTM, some in a parameter of its own, the rest in layers."""

    def __init__(self):
        super().__init__()
        self.mixing = nn.Parameter(torch.eye(4))
        self.rows = nn.LSTM(4, 24, batch_first=True)
        self.hidden, self.out = nn.Linear(24, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(self.rows(x[:, 0] @ self.mixing)[0][:, -1])))


def test_weights_of_no_known_layer_have_a_row_with_the_reason_and_are_counted():
    found = redundancy.report(Recurrent(), split(), minutes=0.05)
    layers = found.layers.set_index("layer")
    assert list(layers.index) == ["hidden", "out", "mixing", "rows"] and layers.free.notna().sum() == 1
    assert "of kind LSTM" in layers.reason["rows"] and "a parameter of its own" in layers.reason["mixing"]
    assert found.beyond == 16 + 4 * 24 * (4 + 24 + 2)
    for name in ("spectra", "masks"):
        reasons = found.tables()[name].set_index("layer").reason
        assert reasons["rows"] and reasons["mixing"] and not reasons["hidden"]


class Words(nn.Module):
    """Images are looked up, so that the loss has no gradient at them."""

    def __init__(self):
        super().__init__()
        self.known = nn.Embedding(5, 6)
        self.hidden, self.out = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(torch.relu(self.hidden(self.known((x.flatten(1) * 2).long().clamp(0, 4)))).mean(1))


def test_images_that_are_looked_up_have_no_gradient_and_units_behind_have():
    net, data = Words(), split()
    with torch.no_grad():
        net.out.weight[:, 2] = 0.0
    assert redundancy.report(net, data, minutes=0.05).layers.set_index("layer").dead["hidden"] >= 1
    frozen = Words().requires_grad_(False)
    assert "dead units are not known" in redundancy.report(frozen, data, minutes=0.05).layers.reason[0]


def test_a_transformer_in_a_plain_row_is_looked_at_by_groups():
    net = models.build("vit", (1, 4, 4), width=8, depth=1, patch=2, classes=3)
    layers = redundancy.report(net, split(), minutes=0.05).layers.set_index("layer")
    assert layers.free.notna().sum() >= 2 and "heads" in set(layers.kind)


@pytest.mark.parametrize("waits, taken", [(20.0, 1), (1.0, 2)])
def test_one_thread_is_taken_where_several_wait_for_each_other(waits, taken, monkeypatch):
    """The clock is made up: with two threads a pass takes so many times as long."""
    monkeypatch.setattr(prices, "timed", lambda call: (call(), 0.01 * (waits if torch.get_num_threads() > 1 else 1.0)))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with prices.threads(net(), split().images):
            assert torch.get_num_threads() == taken
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Product(nn.Module):
    """A hidden layer whose units a parameter reads, and one whose units a parameter scales."""

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(16, 6), nn.Linear(6, 8)
        self.scale, self.mix = nn.Parameter(torch.rand(1, 6)), nn.Parameter(torch.randn(8, 3))

    def forward(self, x):
        return self.head(self.first(x.flatten(1)).relu() * self.scale).relu() @ self.mix


def test_a_hidden_layer_that_a_parameter_reads_is_not_called_the_outputs_and_the_parameter_has_a_row():
    rows = {part.name: part for part in parts.parts(Product(), split().images[:2])}
    assert rows["first"].tied is None and "scale" not in rows  # which goes with the first layer's units
    assert rows["head"].tied.startswith("what reads them is no layer") and "8 numbers go in" in rows["head"].tied
    assert rows["head"].tied.endswith("the outputs are 3") and rows["mix"].parameters == 24
    assert rows["mix"].tied.startswith("a parameter of its own")


class Square(nn.Module):
    """A hidden layer as wide as the outputs, read by a parameter, or with something behind that keeps each apart."""

    def __init__(self, behind):
        super().__init__()
        self.first, self.second = nn.Linear(16, 8), nn.Linear(8, 5)
        self.mix, self.behind = nn.Parameter(torch.randn(5, 5)), behind

    def forward(self, x):
        return self.behind(self.second(self.first(x.flatten(1)).relu()), self.mix)


@pytest.mark.parametrize(
    "behind, outputs",
    [
        (lambda h, mix: h.relu() @ mix, False),
        (lambda h, mix: h, True),
        (lambda h, mix: h.softmax(1), True),
        (lambda h, mix: F.log_softmax(3 * h, 1), True),
        (lambda h, mix: h * mix[0], True),
        (lambda h, mix: (h - h.mean(1, keepdim=True)).tanh(), True),
        (lambda h, mix: (h, h @ mix), True),
        (lambda h, mix: (h.mean(1), h), True),  # beside a number an image
        (lambda h, mix: (h.sum(), h.relu() @ mix), False),  # beside one of all images
    ],
)
def test_units_are_the_outputs_where_each_is_one_of_them_and_not_where_there_are_merely_as_many(behind, outputs):
    torch.manual_seed(0)
    rows = {part.name: part for part in parts.parts(Square(behind), split().images[:2])}
    assert rows["first"].tied is None
    assert (rows["second"].tied == "the model's outputs") == outputs
    assert outputs or rows["second"].tied.endswith("a product with a parameter: each of them moves several outputs")


def test_outputs_whose_number_depends_on_what_units_give_are_taken_for_the_outputs():
    torch.manual_seed(0)
    rows = {p.name: p for p in parts.parts(Square(lambda h, mix: (h[h > h.mean() + 0.3], h)), split().images[:2])}
    assert rows["second"].tied == "the model's outputs"


class Twice(nn.Module):
    """One layer that is called twice, behind another."""

    def __init__(self):
        super().__init__()
        self.first, self.shared, self.last = nn.Linear(16, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.last(self.shared(self.shared(self.first(x.flatten(1)).relu()).relu()).relu())


def test_a_layer_that_stays_with_another_has_a_row_of_its_own():
    rows = {part.name: part for part in parts.parts(Twice(), split().images[:2])}
    assert rows["first"].tied == "'shared' is called 2 times in a pass" and rows["last"].tied == "the model's outputs"
    assert rows["shared"].tied == f"goes with first: {rows['first'].tied}" and rows["shared"].units == 6


class One(nn.Module):
    """One output an image, [N]."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(16, 6), nn.Linear(6, 1)

    def forward(self, x):
        return self.last(self.first(x.flatten(1)).relu()).squeeze(1)


def test_one_output_without_a_dimension_of_its_own_is_the_outputs():
    rows = {part.name: part for part in parts.parts(One(), split().images[:2])}
    assert rows["first"].tied is None and rows["last"].tied == "the model's outputs"
