"""What `statistics` does where the first samples are not like the others, or a model is not what it seems."""

import copy
import io
from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from pruning_lab import gradients, masks
from pruning_lab.gradients.apart import keep_apart
from pruning_lab.gradients.kept import Kept
from pruning_lab.nets import models


def split(images, classes=3):
    return SimpleNamespace(images=images, labels=torch.arange(len(images)) % classes)


def naive(model, test, loss=gradients.cross_entropy, again=False):
    """Every sample's gradient in float64, by parameter; each goes twice, as a batch of one is wrong in BatchNorm.

    `again`: what evaluation mode has made ready is made again for each.
    """
    model = copy.deepcopy(model).double()
    rows = {name: [] for name, _ in model.named_parameters()}
    for image, label in zip(test.images, test.labels, strict=True):
        image = image.double() if image.is_floating_point() else image
        if again:
            model.train().eval()
        one = loss(model(torch.stack([image, image])), torch.stack([label, label]))[0]
        found = torch.autograd.grad(one, list(model.parameters()), allow_unused=True)
        for (name, p), g in zip(model.named_parameters(), found, strict=True):
            rows[name].append(torch.zeros_like(p) if g is None else g)
    return {name: torch.stack(g) for name, g in rows.items()}


def assert_right(found, rows):
    largest = max(float(g.abs().max()) for g in rows.values())
    for name, g in rows.items():
        torch.testing.assert_close(found.mean[name].double(), g.mean(0), rtol=1e-4, atol=1e-6 * largest)
        assert found.mean_square[name] == pytest.approx(float(g.square().sum() / len(g)), rel=1e-4, abs=1e-12), name


class Bags(nn.Module):
    """As many rows as there are words: which are whose is told by no shape."""

    def __init__(self):
        super().__init__()
        self.enc, self.out = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        keep = x.abs().sum(2) > 0
        h = x.new_zeros(*x.shape[:2], 6)
        h[keep] = torch.relu(self.enc(x[keep]))
        return self.out(h.sum(1))


def bags(words):
    torch.manual_seed(0)
    model, x = Bags(), torch.randn(len(words), 4, 4)
    for i, k in enumerate(words):
        x[i, k:] = 0
    return model, split(x)


@pytest.mark.parametrize(
    "words",
    [[1, 1, 1, 3, 4, 2, 4], [4, 2, 4, 3, 1, 1, 1], [1, 1, 1, 2, 0, 1, 1], [2, 2, 2, 1, 3, 2], [1] * 9 + [4] * 9],
)
@pytest.mark.parametrize("chunk", [None, 3, 1])
def test_samples_of_unequal_size_have_their_own_gradients_in_any_order(words, chunk):
    model, test = bags(words)
    assert_right(gradients.statistics(model, test, chunk=chunk), naive(model, test))


def test_the_mean_square_of_the_known_bags_is_the_same_in_two_orders():
    model, test = bags([1, 1, 1, 3, 4, 2, 4])
    turned = SimpleNamespace(images=test.images.flip(0), labels=test.labels.flip(0))
    values = [gradients.statistics(model, t).mean_square["enc.bias"] for t in (test, turned)]
    assert values == pytest.approx([0.8757, 0.8757], abs=1e-4)


class Centred(nn.Module):
    """Samples meet where there is something to see."""

    def __init__(self, centre=lambda h: h - h.mean(0)):
        super().__init__()
        self.enc, self.out, self.centre = nn.Linear(4, 6), nn.Linear(6, 3), centre

    def forward(self, x):
        return self.out(torch.relu(self.centre(self.enc(x))))


MEET = {
    "mean": lambda h: h - h.mean(0),
    "largest": lambda h: h / h.abs().amax().clamp(min=1),
    "first": lambda h: h + (h - h[:1]),
    "neighbour": lambda h: h + (h - h.roll(1, 0)),
    "attention over the batch": lambda h: ((h - h[:1]) @ (h - h[:1]).T).softmax(1) @ h,
}


@pytest.mark.parametrize("chunk", [None, 5, 2, 1])
@pytest.mark.parametrize("how", MEET)
def test_samples_that_meet_after_blank_ones_are_refused_whatever_the_chunk(how, chunk):
    torch.manual_seed(0)
    x = torch.randn(20, 4) * 9
    x[:3] = 0
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(Centred(MEET[how]), split(x), chunk=chunk)


def test_samples_that_meet_late_are_refused():
    torch.manual_seed(0)
    x = torch.randn(40, 4)
    x[:35] = 0
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(Centred(), split(x), chunk=5)


class Mix(nn.Module):
    """Samples meet in something that is equal for all of them."""

    def __init__(self, among=lambda t: t.mean(0)):
        super().__init__()
        self.token, self.among = nn.Linear(4, 16), among

    def forward(self, x):
        return x + self.among(self.token(x.new_ones(len(x), 4)))


EQUAL = {
    "mean": lambda t: t.mean(0),
    "first": lambda t: t[:1],
    "last": lambda t: t[-1:],
    "turned": lambda t: t.flip(0),
    "sorted": lambda t: t.sort(0).values,
    "largest": lambda t: t.amax(0),
    "attention": lambda t: (t @ t.T).softmax(1) @ t,
}


@pytest.mark.parametrize("how", EQUAL)
def test_samples_that_meet_in_what_is_equal_for_all_have_what_each_has_alone(how):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), Mix(EQUAL[how]), nn.ReLU(), nn.Linear(16, 5)).eval()
    test = SimpleNamespace(images=torch.randn(32, 8), labels=torch.randint(5, (32,)))
    found = gradients.statistics(model, test)
    assert_right(found, naive(model, test))
    if how == "mean":
        assert found.coherence("2.token") == pytest.approx(0.0377, abs=1e-4)


class Turned(nn.Module):
    """A norm whose gradient comes with odd strides."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(2, 8, 1), nn.BatchNorm2d(8), nn.Linear(8, 3)

    def forward(self, x):
        tokens = self.norm(self.conv(x)).flatten(2).transpose(1, 2)
        return self.out(tokens * tokens.sigmoid()).square().mean(1)


@pytest.mark.parametrize("alone", [False, True])
def test_a_lone_sample_is_never_passed_where_batch_norm_is_wrong(alone):
    torch.manual_seed(0)
    model = Turned().double()
    model.norm.running_var.uniform_(0.5, 2)
    model.eval()
    if alone:  # one by one, and no `vmap`
        model.forward = lambda x: Turned.forward(model, x) if float(x.sum()) < 1e9 else x
    test = split(torch.randn(7, 2, 4, 4, dtype=torch.float64))
    rows = naive(_plain(model), test)
    for chunk in (None, 1, 2, 3, 6):
        assert_right(gradients.statistics(model, test, chunk=chunk), rows)
    one = SimpleNamespace(images=test.images[:1], labels=test.labels[:1])
    assert_right(gradients.statistics(model, one), {name: g[:1] for name, g in rows.items()})


def _plain(model):
    other = Turned().double().eval()
    other.load_state_dict(model.state_dict())
    return other


# The model is as it was


def dumped(model):
    file = io.BytesIO()
    torch.save(model, file)
    return file.getvalue()


def masked(model, name="weight"):
    for m in model.modules():
        if isinstance(m, nn.Linear):
            prune.random_unstructured(m, name, 0.5)
    return model


def test_a_masked_net_can_be_saved_afterwards_and_holds_the_same_tensors():
    torch.manual_seed(0)
    model, test = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), split(torch.randn(9, 8))
    masks.to_torch(model, masks.build(masks.scores(model, "magnitude"), 0.5))
    before = [dict(vars(m)) for m in model.modules()]
    found = gradients.statistics(model, test)
    for m, held in zip(model.modules(), before, strict=True):
        assert vars(m).keys() == held.keys() and all(vars(m)[name] is value for name, value in held.items())
    assert dumped(model) and not found.mean["0.weight_orig"][model[0].weight_mask == 0].any()


def test_a_net_is_as_it_was_where_statistics_raise_midway():
    torch.manual_seed(0)
    model, test = masked(nn.Sequential(nn.Linear(8, 3))), split(torch.randn(9, 8))
    weight, test.images[7] = model[0].weight, torch.nan
    with pytest.raises(ValueError, match="not finite"):
        gradients.statistics(model, test, chunk=4)
    assert model[0].weight is weight and len(model[0]._forward_pre_hooks) == 1 and not model._forward_pre_hooks


class Notes(nn.Module):
    """Keeps what it saw, in attributes, lists and dictionaries of them."""

    def __init__(self):
        super().__init__()
        self.fc, self.last, self.seen, self.by = nn.Linear(6, 3), None, [], {"kept": {}, "count": 0}
        self.register_buffer("running", torch.zeros(3))

    def forward(self, x):
        out = self.last = self.fc(x)
        self.seen.append(out)
        self.by["kept"][len(self.seen)] = out
        self.by["count"] += 1
        self.running.add_(out.detach().mean(0))
        self.made = out
        return out


def test_what_a_module_notes_while_it_runs_is_put_back():
    model, test = Notes(), split(torch.randn(9, 6))
    gradients.statistics(model, test, chunk=4)
    assert model.last is None and model.seen == [] and model.by == {"kept": {}, "count": 0}
    assert not hasattr(model, "made") and not model.running.any()


class Biased(nn.Module):
    """Attention biases that are looked up once in evaluation mode, as LeViT and TinyViT do."""

    def __init__(self):
        super().__init__()
        self.fc, self.biases, self.ready = nn.Linear(6, 6), nn.Parameter(torch.randn(3, 4)), {}
        self.register_buffer("index", torch.arange(6) % 4)

    def train(self, mode=True):
        self.ready = {} if mode else self.ready
        return super().train(mode)

    def forward(self, x):
        if not self.training and "cpu" not in self.ready:
            self.ready["cpu"] = self.biases[:, self.index]
        biases = self.biases[:, self.index] if self.training else self.ready["cpu"]
        return self.fc(x) * torch.softmax(x @ biases.T, 1).sum(1, keepdim=True) + x @ biases.T @ biases


class Early(Biased):
    """Looked up when evaluation mode begins."""

    def train(self, mode=True):
        super().train(mode)
        self.ready = {} if mode else {"cpu": self.biases[:, self.index]}
        return self


@pytest.mark.parametrize("kind", [Biased, Early])
@pytest.mark.parametrize("before", ["nothing", "a look", "a pass"])
def test_a_module_that_caches_in_evaluation_mode_works_before_and_after(kind, before):
    torch.manual_seed(0)
    model, test = nn.Sequential(kind(), nn.Linear(6, 3)).eval(), split(torch.randn(9, 6))
    rows = naive(nn.Sequential(*model).train(), test)
    model.eval()
    if before == "a look":
        with torch.no_grad():
            model(test.images)
    elif before == "a pass":
        model(test.images)
    held = dict(model[0].ready)
    for chunk in (None, 4):
        found = gradients.statistics(model, test, chunk=chunk)
        assert_right(found, rows)
        assert found.without_gradient == ()
    assert model[0].ready.keys() == held.keys() and all(model[0].ready[name] is t for name, t in held.items())
    model.train()
    model.eval()(test.images).sum().backward()
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())


class Itself(nn.Module):
    """Attention of tokens to themselves."""

    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_masked_attention_has_the_gradients_of_what_is_left(name):
    """Attention reads its output layer's weight and never calls it, so that torch's mask is not laid on again."""
    torch.manual_seed(0)
    model, test = Itself().eval(), split(torch.randn(9, 5, 8))
    prune.random_unstructured(model.attention.out_proj, name, 0.5)
    prune.random_unstructured(model.attention, "in_proj_weight", 0.5)
    mask = getattr(model.attention.out_proj, f"{name}_mask")
    found = [gradients.statistics(model, test) for _ in range(2)]
    plain = Itself().eval()
    with torch.no_grad():
        for key, p in plain.named_parameters():
            holder, own = plain.get_submodule(key.rpartition(".")[0]), key.rpartition(".")[2]
            p.copy_(getattr(model.get_submodule(key.rpartition(".")[0]), own))
            assert holder is not model
    rows = naive(plain, test)[f"attention.out_proj.{name}"] * mask
    for one in found:
        key = f"attention.out_proj.{name}_orig"
        torch.testing.assert_close(one.mean[key].double(), rows.mean(0), rtol=1e-4, atol=1e-7)
        assert not one.diffs[key][mask == 0].any() and one.mean[key].any()


def test_masked_attention_is_read_as_it_is_now():
    torch.manual_seed(0)
    model, test = Itself().eval(), split(torch.randn(9, 5, 8))
    prune.random_unstructured(model.attention.out_proj, "weight", 0.5)
    before = gradients.statistics(model, test).coherence()
    with torch.no_grad():
        model.attention.out_proj.weight_orig.mul_(-3)
    assert gradients.statistics(model, test).coherence() != pytest.approx(before, rel=1e-3)


REFUSED = {
    "meta": (lambda: nn.Sequential(nn.Linear(6, 3, device="meta")), "'0.weight', '0.bias': on the meta device"),
    "not initialised": (lambda: nn.Sequential(nn.LazyLinear(3)), "'0.weight', '0.bias': not initialised yet"),
    "no module": (lambda: torch.relu, "model is builtin_function_or_method: expected a torch.nn.Module"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_pass_goes_through_is_refused_in_one_sentence(name):
    model, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        gradients.statistics(model(), split(torch.randn(9, 6)))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("how", ["script", "trace"])
def test_a_scripted_model_is_refused_in_one_sentence(how, inside):
    layer = nn.Linear(6, 3)
    jit = torch.jit.script(layer) if how == "script" else torch.jit.trace(layer, torch.randn(2, 6))
    with pytest.raises(ValueError, match="scripted or traced by torch.jit, which hides its layers: give the model"):
        gradients.statistics(nn.Sequential(jit) if inside else jit, split(torch.randn(9, 6)))


def test_an_embedding_scaled_by_frequency_is_refused_by_its_own_name():
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = nn.Embedding(5, 6, scale_grad_by_freq=True), nn.Linear(6, 3)

        def forward(self, x):
            return self.out(self.embed(x).mean(1))

    test = split(torch.zeros(9, 4, dtype=torch.long))
    with pytest.raises(ValueError, match=r"'embed' has scale_grad_by_freq=True.*set it to False"):
        gradients.statistics(Words(), test)


class Branch(nn.Module):
    """A matrix of its own before a batch norm, and a look at a number, which no vectorised call allows."""

    def __init__(self):
        super().__init__()
        self.w, self.norm = nn.Parameter(torch.randn(6, 6)), nn.BatchNorm1d(6)

    def forward(self, x):
        h = self.norm(x @ self.w)
        return h if float(h.detach().sum()) < 1e9 else 2 * h


class Alone(Branch):
    """Gives a sample alone without its first dimension."""

    def forward(self, x):
        h = super().forward(x)
        return h if len(x) > 1 else h[0]


class Flat(nn.Module):
    """Gives all samples in one row, so that a sample alone gives something of another shape."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x):
        return (x * self.scale).flatten()


class Doubled(nn.Embedding):
    """An embedding with a forward of its own."""

    def forward(self, x):
        return 2 * super().forward(x)


class Squeezed(Flat):
    """Gives a sample alone without its first dimension."""

    def forward(self, x):
        return (x * self.scale).squeeze(0)


class Rows(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part, self.out = part, nn.Linear(6, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.part(x).view(-1, 6)))


MODELS = {
    "a batch norm in what is called sample by sample": (lambda: nn.Sequential(Branch(), nn.Tanh(), nn.Linear(6, 3)), 6),
    "samples in one row": (lambda: Rows(Flat()), 6),
    "a sample alone without its dimension": (lambda: Rows(Squeezed()), 6),
    "a matrix, and a sample alone without its dimension": (lambda: Rows(Alone()), 6),
    "a layer of words with a forward of its own": (
        lambda: nn.Sequential(Doubled(9, 6), nn.Flatten(), nn.Linear(12, 3)), 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("chunk", [None, 4, 1])
def test_modules_that_no_formula_knows_are_right(name, chunk):
    torch.manual_seed(0)
    build, width = MODELS[name]
    test = split(torch.randn(9, width) if width else torch.randint(9, (9, 2)))
    model = build().eval()
    assert_right(gradients.statistics(model, test, chunk=chunk), naive(model, test))


def test_a_loss_in_which_samples_meet_without_a_trace_in_its_values_is_refused():
    def met(outputs, labels):
        mean = outputs.mean(0)
        return gradients.cross_entropy(outputs - mean + mean.detach(), labels)

    torch.manual_seed(0)
    with pytest.raises(ValueError, match="depends on"):
        gradients.statistics(nn.Sequential(nn.Linear(8, 3)), split(torch.randn(12, 8)), loss=met)


class Pair(nn.Module):
    """Takes no sample alone."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(6) + 0.5)

    def forward(self, x):
        if len(x) < 2:
            raise RuntimeError("one is not enough")
        return x * self.scale


def test_a_module_that_takes_no_sample_alone_is_right_or_refused_by_name():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=r"called by itself for one sample, fails: .*one is not enough"):
        gradients.statistics(nn.Sequential(Pair(), nn.Linear(6, 3)), split(torch.randn(8, 6)))


class Washed(nn.Module):
    """Samples meet for the one above a threshold, and what is no number is made one before."""

    def __init__(self, wash):
        super().__init__()
        self.wash, self.above = wash, 9.0

    def forward(self, h):
        h = self.wash(h)
        return torch.where(h[:, :1] > self.above, h * (1 + h.mean(0)), h)


WASHES = {
    "nan_to_num": torch.nan_to_num,
    "in place": lambda h: (h * 1).nan_to_num_(),
    "fmax": lambda h: torch.fmax(h, torch.full_like(h, -99.0)),
    "fmin": lambda h: torch.fmin(h, torch.full_like(h, 99.0)),
    "nansum": lambda h: h[:, :, None].nansum(2),
    "nanmedian": lambda h: h[:, :, None].nanmedian(2)[0],
    "nanmean": lambda h: h[:, :, None].nanmean(2),
    "isnan": lambda h: torch.where(h.isnan(), torch.zeros_like(h), h),
}


@pytest.mark.parametrize("name", WASHES)
def test_samples_that_meet_where_no_number_is_made_one_are_refused(name):
    torch.manual_seed(0)
    model, test = nn.Sequential(nn.Linear(4, 6), Washed(WASHES[name]), nn.Linear(6, 3)), split(torch.randn(120, 4))
    with torch.no_grad():
        model[1].above = float(model[0](test.images)[:, 0].topk(2)[0].mean())
    with pytest.raises(ValueError, match="depends on the other images"):
        gradients.statistics(model, test)


@pytest.mark.parametrize(
    "fill", [lambda h: torch.zeros_like(h), lambda h: (h * 1).fill_(1.0), lambda h: (h * 1).copy_(torch.ones(6))]
)
def test_what_does_not_depend_on_what_is_lost_leaves_samples_apart(fill):
    torch.manual_seed(0)

    class Net(nn.Sequential):
        def forward(self, x):
            h = self[0](x)
            return self[1](h + fill(h))

    model, labels = Net(nn.Linear(4, 6), nn.Linear(6, 3)), torch.arange(3)
    assert keep_apart(model, gradients.cross_entropy, torch.randn(3, 4), labels, Kept(model))
    for layer in (nn.ReLU(), nn.Hardswish(), nn.LayerNorm(6), nn.BatchNorm1d(6).eval(), nn.Dropout().eval()):
        net = nn.Sequential(nn.Linear(4, 6), layer, nn.Unflatten(1, (1, 6)), nn.MaxPool1d(2), nn.Flatten())
        assert keep_apart(net, gradients.cross_entropy, torch.randn(3, 4), labels, Kept(net)), layer


class Shortened(nn.Linear):
    """Shortens its rows before it uses them, past autograd."""

    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, 2, 0, 0.1)
        return super().forward(x)


class Averages(nn.Module):
    """Keeps an average of what it saw, past autograd."""

    def __init__(self, size):
        super().__init__()
        self.register_buffer("seen", torch.zeros(size))

    def forward(self, x):
        self.seen.data += x.detach().mean(0)
        return x


SHORTENED = {
    "embedding": lambda: nn.Sequential(nn.Embedding(11, 6, max_norm=0.5), nn.Flatten(), nn.Linear(30, 3)),
    "bag": lambda: nn.Sequential(nn.EmbeddingBag(11, 6, max_norm=0.5), nn.Linear(6, 3)),
    "by itself": lambda: nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), Shortened(30, 3)),
    "old spectral": lambda: nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), nn.utils.spectral_norm(nn.Linear(30, 3))),
    "averages past autograd": lambda: nn.Sequential(nn.Embedding(11, 6), nn.Flatten(), Averages(30), nn.Linear(30, 3)),
    "spectral": lambda: nn.Sequential(
        nn.Embedding(11, 6), nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(30, 3))
    ),
}


@pytest.mark.parametrize("name", SHORTENED)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_weights_that_a_pass_shortens_in_place_are_as_they_were(name):
    torch.manual_seed(0)
    model, test = SHORTENED[name](), split(torch.randint(11, (21, 5)))
    before = copy.deepcopy(model.state_dict())
    model.train("spectral" in name)
    with suppress(ValueError):  # whether or not there is an answer
        gradients.statistics(model, test)
    assert all(torch.equal(t, before[key]) for key, t in model.state_dict().items())


@pytest.mark.filterwarnings("ignore:Sparse CSR")
def test_a_layer_of_compressed_rows_stands_beside_those_that_are_trained():
    model, test = models.build("mlp", (1, 4, 4), width=8, hidden=2), split(torch.randn(20, 1, 4, 4))
    kept = {"fc1.weight": torch.rand(8, 16, generator=torch.Generator().manual_seed(0)) > 0.5}
    compressed, zeroed = masks.sparse(model, kept), copy.deepcopy(model)
    zeroed.fc1.weight.data *= kept["fc1.weight"]
    for parameter in compressed.parameters():
        parameter.requires_grad_(True)
    found, expected = (gradients.statistics(m, test) for m in (compressed, zeroed))
    assert found.mean.keys() == {"fc2.weight", "fc2.bias", "out.weight", "out.bias"}
    for name, mean in found.mean.items():
        torch.testing.assert_close(mean, expected.mean[name])


class Above(nn.Module):
    """Reads the weight of a layer two chains below it, which it never calls."""

    def __init__(self):
        super().__init__()
        self.n, self.out = nn.Sequential(nn.Sequential(nn.Linear(8, 8))), nn.Linear(8, 3)

    def forward(self, x):
        return self.out(nn.functional.linear(x, self.n[0][0].weight).relu())


def test_a_mask_two_chains_below_is_laid_on_anew_for_each_pass():
    torch.manual_seed(0)
    model, test = Above(), split(torch.randn(9, 8))
    prune.random_unstructured(model.n[0][0], "weight", 0.5)
    with torch.no_grad():
        model.n[0][0].weight_orig.mul_(-3)
    found = gradients.statistics(model, test)
    plain = Above()
    with torch.no_grad():
        plain.n[0][0].weight.copy_(model.n[0][0].weight_orig * model.n[0][0].weight_mask)
        plain.n[0][0].bias.copy_(model.n[0][0].bias)
        plain.out.load_state_dict(model.out.state_dict())
    rows = naive(plain, test)["n.0.0.weight"] * model.n[0][0].weight_mask
    torch.testing.assert_close(found.mean["n.0.0.weight_orig"].double(), rows.mean(0), rtol=1e-4, atol=1e-6)
