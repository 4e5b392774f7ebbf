"""`nn.MultiheadAttention`: its projections are seen where PyTorch calls them, and give each sample's own gradients."""

from types import SimpleNamespace

import pytest
import torch
from test_gradient_checks import split
from torch import nn
from torch.overrides import _get_current_function_mode_stack

from pruning_lab import gradients
from pruning_lab.gradients import attention, calls, engine, kept, plan

WIDTH, TOKENS = 8, 5


class Net(nn.Module):
    """Tokens, what is done with their attention, and a layer behind."""

    def __init__(self, use, *layers, tokens=TOKENS, **options):
        super().__init__()
        self.use, self.first = use, nn.Linear(WIDTH, WIDTH)
        layers = layers or (nn.MultiheadAttention(WIDTH, 2, batch_first=True, **options),)
        self.layers, self.out = nn.ModuleList(layers), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.out(self.use(*self.layers, self.first(x).tanh()).mean(1))


def itself(m, t):
    return m(t, t, t, need_weights=False)[0]


def weighted(m, t):
    out, weights = m(t, t, t)
    return out + weights.sum(2, keepdim=True)


def tokens_first(m, t):
    t = t.transpose(0, 1)
    return m(t, t, t)[0].transpose(0, 1)


def padded(m, t):
    return m(t, t, t, key_padding_mask=t.detach()[..., 0] > 0.9 * t.detach()[..., 0].amax(1, keepdim=True))[0]


def masked(m, t):
    mask = torch.triu(torch.full((TOKENS, TOKENS), -torch.inf, dtype=t.dtype), 1)
    return m(t, t, t, attn_mask=mask, need_weights=False, is_causal=True)[0]


def masked_each(m, t):
    return m(t, t, t, attn_mask=(t @ t.mT).repeat_interleave(2, 0), need_weights=False)[0]


def windows(m, t):
    t = torch.cat([t, t.sin()], 1).unflatten(1, (2, TOKENS)).flatten(0, 1)
    return m(t, t, t, need_weights=False)[0].unflatten(0, (-1, 2)).flatten(1, 2)


def tied(module):
    module.k_proj_weight = module.q_proj_weight
    return module


def frozen(module, name):
    module.get_parameter(name).requires_grad_(False)
    return module


class Sub(nn.MultiheadAttention):
    """What it reads is its own affair, and so is how often."""

    def forward(self, query, key, value, **options):
        query = query.sin()
        return super().forward(query, query, query)[0] * super().forward(key, value, value)[0], None


def hooked(module):
    module.register_forward_pre_hook(lambda m, args: (args[0].sin(), *args[1:]))
    return module


def mha(kind=nn.MultiheadAttention, **options):
    return kind(WIDTH, 2, batch_first=True, **options)


def apart():
    return mha(kdim=6, vdim=4)


FORMULA = {
    "itself": lambda: Net(itself),
    "with weights": lambda: Net(weighted),
    "tokens first": lambda: Net(tokens_first, nn.MultiheadAttention(WIDTH, 2)),
    "without biases": lambda: Net(itself, bias=False),
    "a token to all": lambda: Net(lambda m, t: m(t[:, :1], t, t)[0]),
    "all to a token": lambda: Net(lambda m, t: t + m(t, t[:, :1], t[:, :1])[0]),
    "three inputs": lambda: Net(lambda m, t: m(t, t.sin(), t[:, :, :].cos())[0]),
    "other widths": lambda: Net(lambda m, t: m(t, t[..., :6], t[..., :4])[0], apart()),
    "one weight for two": lambda: Net(lambda m, t: m(t, t.sin(), t[..., :4])[0], tied(mha(vdim=4))),
    "biases among keys": lambda: Net(itself, add_bias_kv=True),
    "zeros among keys": lambda: Net(itself, add_zero_attn=True),
    "padded": lambda: Net(padded),
    "causal": lambda: Net(masked),
    "a mask for each": lambda: Net(masked_each),
    "windows": lambda: Net(windows),
    "windows, biases among keys": lambda: Net(windows, add_bias_kv=True),
    "called twice": lambda: Net(lambda m, t: itself(m, itself(m, t).tanh())),
    "two of them": lambda: Net(lambda m, n, t: itself(n, itself(m, t).tanh()), mha(), mha()),
    "one token": lambda: Net(lambda m, t: itself(m, t[:, :1])),
    "frozen projections": lambda: Net(itself, frozen(mha(), "in_proj_weight")),
    "frozen bias": lambda: Net(itself, frozen(mha(), "in_proj_bias")),
    "a subclass": lambda: Net(itself, mha(Sub)),
    "a hook": lambda: Net(itself, hooked(mha())),
    "encoder": lambda: Net(lambda m, t: m(t), nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, 2, 12, dropout=0, batch_first=True), 2, enable_nested_tensor=False)),
    "decoder": lambda: Net(lambda m, t: m(t, t.sin()),
                           nn.TransformerDecoderLayer(WIDTH, 2, 12, dropout=0, batch_first=True)),
}  # fmt: skip


class Extra(nn.MultiheadAttention):
    """Its own parameter lies before the projections."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.scale = nn.Parameter(torch.rand(WIDTH))

    def forward(self, query, key, value, **options):
        return super().forward(query * self.scale, key, value, **options)


class Calls(nn.MultiheadAttention):
    """Its output layer is called beside."""

    def forward(self, query, key, value, **options):
        return super().forward(query, key, value)[0] + self.out_proj(query), None


class Regroups(nn.MultiheadAttention):
    """Its windows, samples first outside, are samples last inside."""

    def forward(self, query, key, value, **options):
        inside = query.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)
        out = super().forward(inside, inside, inside)[0]
        return out.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1), None


def parametrised(module):
    nn.utils.parametrizations.weight_norm(module.out_proj)
    return module


FALLBACK = {
    "a parameter more": lambda: Net(itself, mha(Extra)),
    "an output layer that is called": lambda: Net(itself, mha(Calls)),
    "samples in another order inside": lambda: Net(windows, mha(Regroups)),
    "weight norm": lambda: Net(itself, parametrised(mha())),
    "a weight read elsewhere": lambda: Net(lambda m, t: itself(m, t) @ m.out_proj.weight.sin()),
}


def case(build, n=7):
    torch.manual_seed(0)
    model = build().double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.1 * torch.randn_like(p)
    return model, split(torch.randn(n, TOKENS, WIDTH, dtype=torch.float64))


@pytest.fixture
def planned(monkeypatch):
    """The plans that are made while a test runs."""
    made = []
    monkeypatch.setattr(engine, "plan", lambda *args: (made.append(plan.plan(*args)), made[-1])[1])
    return made


def assert_each(found, rows):
    """Mean, mean of squares and diffs of each parameter; signs count where no rounding can turn them."""
    assert found.mean.keys() == rows.keys()
    for name, g in rows.items():
        torch.testing.assert_close(found.mean[name], g.mean(0), rtol=0, atol=1e-12)
        assert found.mean_square[name] == pytest.approx(float(g.square().sum() / len(g)), rel=1e-10, abs=1e-24), name
        sure = (g.abs() > 1e-12).all(0)
        torch.testing.assert_close(found.diffs[name][sure], g.sign().mean(0)[sure], rtol=0, atol=1e-12)


def own_gradients(model, test):
    """A loop over samples; zeros where a parameter is frozen."""
    rows = {name: torch.zeros(len(test.images), *p.shape, dtype=p.dtype) for name, p in model.named_parameters()}
    for i in range(len(test.images)):
        loss = gradients.cross_entropy(model(test.images[i : i + 1]), test.labels[i : i + 1]).sum()
        loud = {name: p for name, p in model.named_parameters() if p.requires_grad}
        for name, g in zip(loud, torch.autograd.grad(loss, list(loud.values())), strict=True):
            rows[name][i] = g
    return rows


@pytest.mark.parametrize("name", FORMULA)
def test_attention_has_the_gradients_of_a_loop_over_samples(name, planned):
    model, test = case(FORMULA[name])
    found = gradients.statistics(model, test, chunk=4)
    assert_each(found, own_gradients(model, test))
    assert len(planned) == 1 and not planned[0].fallback
    again = gradients.statistics(model, test, chunk=4)
    assert all(torch.equal(g, again.mean[key]) for key, g in found.mean.items()) and len(planned) == 1


@pytest.mark.parametrize("name", FALLBACK)
def test_attention_that_does_more_than_its_class_is_differentiated_as_a_whole(name, planned):
    model, test = case(FALLBACK[name])
    assert_each(gradients.statistics(model, test), own_gradients(model, test))
    assert planned[-1].fallback and attention.parts not in planned[-1].formulas.values()


def test_a_look_into_attention_changes_nothing_and_ends_with_it():
    model, test = case(FORMULA["encoder"])
    out, seen = calls.run(model, test.images, model.modules(), kept.Kept(model))
    assert torch.equal(out, model(test.images))
    attentions = [m for m in model.modules() if isinstance(m, nn.MultiheadAttention)]
    assert [[step.weight[0] for step in seen[m][0].steps] for m in attentions] == [
        ["in_proj_weight", "out_proj.weight"]
    ] * 2
    with pytest.raises(AssertionError, match="embedding dimension"):
        calls.run(model.layers[0].layers[0], test.images[..., 1:], model.modules(), kept.Kept(model))
    assert not _get_current_function_mode_stack()


def test_attention_without_gradient_is_not_looked_into(monkeypatch):
    """PyTorch's fast path, which has no projections, is taken as it would be."""
    model, test = case(FORMULA["itself"])
    model.layers.requires_grad_(False)
    out, seen = calls.run(model, test.images, model.modules(), kept.Kept(model))
    assert not seen[model.layers[0]][0].steps and torch.equal(out, model(test.images))
    assert_each(gradients.statistics(model, test), own_gradients(model, test))


def test_queries_and_keys_have_no_sign_where_there_is_nothing_to_choose():
    """Three keys alike: each weighs a third whatever is asked; what rounding leaves of queries' and keys' gradients is
    none.
    """
    alike = [0, 0, 0]
    model, test = case(lambda: Net(lambda m, t: t + m(t, t[:, alike], t[:, alike], need_weights=False)[0]), n=40)
    model, test.images = model.float(), test.images.float()
    found, loud = (gradients.statistics(model, test, **how) for how in ({}, {"silent": 0}))
    name = "layers.0.in_proj_weight"
    queries, values = slice(2 * WIDTH), slice(2 * WIDTH, None)
    assert loud.diffs[name][queries].any() and not found.diffs[name][queries].any()
    assert torch.equal(found.diffs[name][values], loud.diffs[name][values]) and found.diffs[name][values].any()
    assert torch.equal(found.mean[name], loud.mean[name]) and found.mean_square[name] == loud.mean_square[name]


class Grows(nn.MultiheadAttention):
    """Beside more than three samples there is another one inside."""

    def forward(self, query, key, value, **options):
        more = torch.cat([query, query[:1]]) if len(query) > 3 else query
        return super().forward(more, more, more)[0][: len(query)], None


def test_more_entries_inside_than_samples_are_noticed(planned):
    model, test = case(lambda: Net(itself, mha(Grows)))
    assert_each(gradients.statistics(model, test), own_gradients(model, test))
    assert attention.parts in planned[0].formulas.values() and attention.parts not in planned[-1].formulas.values()


class Changes(nn.MultiheadAttention):
    """What its projections have read is something else afterwards."""

    def forward(self, query, key, value, **options):
        query = query.sin()
        out = super().forward(query, query, query)
        query.mul_(2)
        return out


def test_what_a_projection_has_read_may_not_change_afterwards():
    for kind, untouched in ((Sub, True), (Changes, False)):
        model, test = case(lambda kind=kind: Net(itself, mha(kind)))
        _, seen = calls.run(model, test.images, model.modules(), kept.Kept(model))
        assert seen[model.layers[0]][0].untouched() is untouched


def test_projections_of_which_one_has_more_entries_a_sample_are_not_alike():
    one, two = (
        tuple(SimpleNamespace(batch=samples * entries, x=None, weight=("w", 0), bias=None) for samples in (2, 3))
        for entries in (1, 2)
    )
    assert attention._alike([one, one]) and attention._alike([two])
    assert not attention._alike([one, two])
