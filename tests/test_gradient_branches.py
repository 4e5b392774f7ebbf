"""What only some samples read: experts, branches, early exits. The first samples do not decide for all."""

import pytest
import torch
from test_gradient_checks import assert_right, split
from test_gradient_plans import naive_of
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import engine, plan
from pruning_lab.gradients.kept import Kept


def flagged(*where, n=14, width=6, value=30.0):
    """Samples of which some have a large first number."""
    torch.manual_seed(1)
    x = torch.randn(n, width)
    x[:, 0] = 0
    for i in where:
        x[i, 0] = value
    return split(x)


class Net(nn.Module):
    """A net whose forward pass is a function of its own."""

    def __init__(self, function, **parts):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.out, self.p = nn.Linear(6, 3), nn.Parameter(torch.rand(6) + 0.5)
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def seen(x):
    return x[:, 0] > 10


def experts(m, x):
    """Each sample goes to one of three layers."""
    h = torch.zeros_like(x)
    kind = seen(x).long() + (x[:, 0] > 100).long()
    for k, expert in enumerate((m.a, m.b, m.c)):
        if (kind == k).any():
            h[kind == k] = expert(x[kind == k])
    return m.out(h.tanh())


def chosen(m, x):
    """Both for every sample, but only where somebody needs both."""
    flag = seen(x)[:, None]
    h = m.a(x)
    if flag.any():
        h = torch.where(flag, m.b(h.tanh()), h)
    return m.out(h.tanh())


def always(m, x):
    return m.out(torch.where(seen(x)[:, None], m.b(x), m.a(x)).tanh())


def early(m, x):
    """The sure ones leave."""
    out = m.out(m.a(x).tanh())
    stay = seen(x)
    if stay.any():
        out = out.clone()
        out[stay] = m.c(m.b(x[stay]).tanh())[:, :3]
    return out


def scaled(m, x):
    """A parameter that no layer holds."""
    h = m.a(x).tanh()
    return m.out(h * m.p if seen(x).any() else h) if not seen(x).any() else m.out(torch.where(
        seen(x)[:, None], h * m.p, h))  # fmt: skip


def twice_where_seen(m, x):
    h = m.a(x).tanh()
    if seen(x).any():
        h = torch.where(seen(x)[:, None], m.a(h).tanh(), h)
    return m.out(h)


def by_a_function(m, x):
    """A layer's weight is read past the layer."""
    h = m.a(x).tanh()
    if seen(x).any():
        h = torch.where(seen(x)[:, None], nn.functional.linear(h, m.a.weight).tanh(), h)
    return m.out(h)


def added_past_its_row(m, x):
    h = m.a(x).tanh() + m.p
    if seen(x).any():
        h = torch.where(seen(x)[:, None], h * dict(m.named_parameters())["p"], h)
    return m.out(h)


def one_at_a_time(m, x):
    return torch.stack([m.out(m.b(m.a(one)).tanh() if one[0] > 10 else m.a(one)) for one in x])


BRANCHES = {f.__name__: f for f in (experts, chosen, always, early, scaled, twice_where_seen, by_a_function,
                                    added_past_its_row, one_at_a_time)}  # fmt: skip


@pytest.mark.parametrize("where", [(5,), (4, 11, 13), (1, 9)])
@pytest.mark.parametrize("chunk", [None, 4, 1])
@pytest.mark.parametrize("name", BRANCHES)
def test_what_only_some_samples_read_has_their_gradients(name, chunk, where):
    torch.manual_seed(0)
    model, test = Net(BRANCHES[name]), flagged(*where)
    found = gradients.statistics(model, test, chunk=chunk)
    rows = naive_of(model, test)
    assert_right(found, rows)
    assert set(found.without_gradient) == {key for key, g in rows.items() if not g.any()} | (
        set(found.without_gradient) & {"b.weight", "b.bias"} if name == "always" else set()
    )
    assert_right(gradients.statistics(model, test, chunk=chunk), rows)


def test_every_expert_is_found_though_each_chunk_shows_another():
    torch.manual_seed(0)
    model, test = Net(experts), flagged(5, 9)
    test.images[10, 0] = 1000
    for chunk in (None, 3, 2):
        assert_right(gradients.statistics(model, test, chunk=chunk), naive_of(model, test))


def test_a_model_that_reads_no_more_than_its_plan_is_not_planned_again(monkeypatch):
    made = []
    monkeypatch.setattr(engine, "plan", lambda *args: (made.append(1), plan.plan(*args))[1])
    torch.manual_seed(0)
    model, test = Net(lambda m, x: m.out(m.a(x).tanh() + m.p)), flagged(5)
    for _ in range(2):
        gradients.statistics(model, test)
    assert made == [1]
    model, test = Net(experts), flagged(5)
    for _ in range(2):
        gradients.statistics(model, test)
    assert len(made) < 6
    before = len(made)
    gradients.statistics(model, test)
    assert len(made) == before


class FewRows(nn.Module):
    """Works with a row for each of three samples, and of no other number."""

    def __init__(self, fails=True):
        super().__init__()
        self.p, self.a, self.out, self.fails = nn.Parameter(torch.rand(6)), nn.Linear(6, 6), nn.Linear(6, 3), fails

    def forward(self, x):
        if self.p.ndim > 1 and len(self.p) > 3:
            raise RuntimeError("the sizes do not fit")
        if self.fails and x.abs().max() > 10:
            raise RuntimeError("too large a number")
        return self.out(self.a(x).tanh() * self.p)


def test_where_no_row_can_stand_for_a_parameter_each_sample_goes_alone():
    torch.manual_seed(0)
    model, test = FewRows(fails=False), flagged()
    assert_right(gradients.statistics(model, test), naive_of(model, test))


def test_a_model_that_fails_on_later_samples_says_on_which():
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="the model fails on samples 4 to 7, though not on the first ones: too large"):
        gradients.statistics(FewRows(), flagged(5), chunk=4)


WRONG = {
    "chunk='4': expected at least 1 sample": dict(chunk="4"),
    "chunk=2.5: expected at least 1 sample, a whole number": dict(chunk=2.5),
    "chunk=True: expected": dict(chunk=True),
    "want=5: expected a set": dict(want=5),
    "want=None: expected a set": dict(want=None),
    "want=.1.: expected a set": dict(want={1}),
    "want=.*'mean'.*: expected a set": dict(want=[["mean"]]),
    "silent='8': expected a number": dict(silent="8"),
    "silent=None: expected a number": dict(silent=None),
    "silent=True: expected a number": dict(silent=True),
    "silent=nan: expected a number": dict(silent=float("nan")),
    "groups='2': expected 0": dict(groups="2"),
    "groups=2.0: expected 0": dict(groups=2.0),
    "loss=None: expected a function": dict(loss=None),
    "loss='ce': expected a function": dict(loss="ce"),
}


@pytest.mark.parametrize("message", WRONG)
def test_an_argument_of_a_wrong_type_gets_one_sentence(message):
    with pytest.raises(ValueError, match=message):
        gradients.statistics(nn.Linear(6, 3), flagged(), **WRONG[message])


def adapted(m, x):
    """Another number of calls, of pieces and of dimensions for a sample alone."""
    h = m.a(x) if len(x) > 1 else m.a(m.a(x))
    return m.out(h)


SHAPED = {
    "calls that depend on the number": adapted,
    "a dimension less for one": lambda m, x: m.out(m.a(x)).squeeze(0),
    "pieces of two": lambda m, x: torch.cat([m.out(m.a(few)) for few in x.split(2)]),
    "halves": lambda m, x: torch.cat([m.out(m.a(few)) for few in x.chunk(2)]),
    "each by itself": lambda m, x: torch.stack([m.out(m.a(one)) for one in x]),
}


@pytest.mark.parametrize("chunk", [1, 2, 3, None])
@pytest.mark.parametrize("name", SHAPED)
def test_shapes_that_depend_on_the_number_of_samples_are_right(name, chunk):
    torch.manual_seed(0)
    model, test = Net(SHAPED[name]), flagged()
    twice = Net(lambda m, x: SHAPED[name](m, torch.cat([x, x]))[:1], a=model.a, b=model.b, c=model.c, out=model.out)
    twice.p = model.p
    assert_right(gradients.statistics(model, test, chunk=chunk), naive_of(twice, test))


def test_a_model_that_fails_on_few_samples_gets_one_sentence():
    with pytest.raises(ValueError, match=r"the model fails on [23] samples \[[23], 6\]: shape"):
        gradients.statistics(Net(lambda m, x: m.out(x.view(4, -1, 6)).view(-1, 3)), flagged(n=16))


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("chunk", [None, 3, 1])
def test_rows_divided_by_how_often_they_are_read_are_right_or_refused_by_name(kind, shared, chunk):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.out = kind(5, 6, scale_grad_by_freq=True), nn.Linear(6, 3)

        def forward(self, x):
            return self.out(self.embed(x).mean(1) if kind is nn.Embedding else self.embed(x))

    torch.manual_seed(0)
    model, test = Words(), split(torch.randint(5, (12, 4)))
    test.images[:3] = torch.tensor([[0, 0, 0, 1], [2, 2, 2, 3], [4, 4, 4, 4]]) if not shared else 1
    try:
        found = gradients.statistics(model, test, chunk=chunk)
    except ValueError as error:
        assert "'embed' has scale_grad_by_freq=True" in str(error) and (shared or kind is nn.EmbeddingBag)
    else:
        assert_right(found, naive_of(model, test))


def test_a_parameter_that_is_held_aside_as_well_is_refused_by_name():
    """Neither a row nor a copy stands in both places."""
    torch.manual_seed(0)
    model, test = Net(lambda m, x: m.out((m.a(x).tanh() + m.p) * m.aside[0])), flagged()
    model.aside = [model.p]
    with pytest.raises(ValueError, match="gradients of 'p', sample by sample, do not add up to those of the batch"):
        gradients.statistics(model, test)


@pytest.mark.parametrize("later", [False, True])
def test_a_lack_of_memory_stays_what_it_is(later):
    def full(m, x):
        if not later or seen(x).any():
            raise torch.OutOfMemoryError("too much")
        return m.out(m.a(x))

    with pytest.raises(torch.OutOfMemoryError):
        gradients.statistics(Net(full), flagged(9))
    with pytest.raises(torch.OutOfMemoryError):
        plan._tried(model := Net(full), flagged(9).images, Kept(model))


def test_no_row_stands_where_many_samples_take_other_operations():
    torch.manual_seed(0)

    def forward(m, x):
        h = m.a(x).tanh() + m.p
        return m.out(h.clone().sin() if len(x) > 5 else h.sin())

    model, test = Net(forward), flagged()
    assert_right(gradients.statistics(model, test), naive_of(model, test))
