"""Samples that change places inside a model, and such as meet in a few of them only: no few stand for all."""

import pytest
import torch
from test_gradient_branches import Net, seen
from test_gradient_checks import assert_right, split
from test_gradient_plans import naive_of
from torch import nn

from pruning_lab import gradients
from pruning_lab.gradients import apart, company, verify
from pruning_lab.gradients.kept import Kept


def rising(flag=None, n=40):
    """Samples in the order of their first numbers, but for one."""
    torch.manual_seed(1)
    x = torch.randn(n, 6)
    x[:, 0] = 0.01 * torch.arange(n)
    if flag is not None:
        x[flag, 0] = 30
    return split(x)


def back(h, order):
    out = torch.empty_like(h)
    out[order] = h
    return out


def order_of(x):
    return x[:, 0].argsort(stable=True)


def by_index(m, x):
    order = order_of(x)
    return m.out(back(m.a(m.a(x).tanh()[order]).tanh(), order))


def by_select(m, x):
    order = order_of(x)
    h = m.a(m.a(x).tanh().index_select(0, order)).tanh()
    return m.out(h.index_select(0, order.argsort()))


def by_gather(m, x):
    order, h = order_of(x), m.a(x).tanh()
    return m.out(back(m.a(h.gather(0, order[:, None].expand_as(h))).tanh(), order))


def by_matrix(m, x):
    places = torch.eye(len(x))[order_of(x)]
    return m.out(places.T @ m.a(places @ m.a(x).tanh()).tanh())


def by_length(m, x):
    length = (x.abs() > 0.5).sum(1)
    order = length.argsort(descending=True, stable=True)
    return m.out(back(m.a(m.a(x).tanh()[order]).tanh(), order))


def turned_where_seen(m, x):
    h = m.a(x).tanh()
    return m.out(m.a(h.flip(0)).tanh().flip(0) if seen(x).any() else m.a(h).tanh())


def parted(m, x):
    flag, h = seen(x), m.a(x).tanh()
    h = m.a(torch.cat([h[flag], h[~flag]])).tanh()
    out = torch.empty_like(h)
    out[flag], out[~flag] = h[: int(flag.sum())], h[int(flag.sum()) :]
    return m.out(out)


def loose(m, x):
    """A parameter that no layer holds, before and behind."""
    order = order_of(x)
    return m.out(back((m.a(x).tanh() + m.p)[order] * m.p, order))


def packed(m, x):
    """As a packed sequence, whose steps hold fewer and fewer samples."""
    steps = x.view(-1, 3, 2)
    length = (1 + (steps.abs().sum(2) > 1).sum(1)).clamp(max=3)
    sequence = nn.utils.rnn.pack_padded_sequence(m.b(steps), length, batch_first=True, enforce_sorted=False)
    return m.out(torch.cat([m.c(sequence)[1][0][0], m.b(steps[:, 0])], 1))


class Sorting(nn.Linear):
    """A layer that sorts what it reads, and puts nothing back."""

    def forward(self, x):
        return super().forward(x[order_of(x)])


def inside(m, x):
    h = m.b(x.sin())
    return m.out(back(h, order_of(x.sin())))


REORDERED = {
    f.__name__: f
    for f in (by_index, by_select, by_gather, by_matrix, by_length, turned_where_seen, parted, loose)
} | {
    "packed": (packed, dict(b=nn.Linear(2, 3), c=nn.LSTM(3, 3, batch_first=True))),
    "inside a layer": (inside, dict(b=Sorting(6, 6))),
}  # fmt: skip


def net(entry):
    function, parts = entry if isinstance(entry, tuple) else (entry, {})
    return Net(function, **parts)


@pytest.mark.parametrize("flag", [7, 38])
@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize("name", REORDERED)
def test_samples_that_change_places_inside_have_their_own_gradients(name, chunk, flag):
    torch.manual_seed(0)
    model, test = net(REORDERED[name]), rising(flag)
    assert_right(gradients.statistics(model, test, chunk=chunk), naive_of(model, test))


def not_back(m, x):
    return m.out(m.a(m.a(x).tanh()[order_of(x)]).tanh())


def shifted(m, x):
    return m.out(torch.where(seen(x)[:, None], m.a(x).roll(1, 0), m.a(x)))


@pytest.mark.parametrize("function", [not_back, shifted])
@pytest.mark.parametrize("chunk", [None, 7])
def test_samples_that_come_out_in_another_order_are_refused(function, chunk):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(Net(function), rising(21, 200), chunk=chunk)


def with_flag(x):
    return (x[:, :1] > 10).to(x.dtype)


def assigned(m, x):
    h, flag = m.a(x).tanh(), seen(x)
    out = h.clone()
    out[flag] = h[flag] - h.mean(0)
    return m.out(out)


FEW = {
    "times a flag": lambda m, x: m.out((lambda h: h + with_flag(x) * h.mean(0))(m.a(x).tanh())),
    "where": lambda m, x: m.out((lambda h: torch.where(seen(x)[:, None], h - h.mean(0), h))(m.a(x).tanh())),
    "a branch": lambda m, x: m.out(
        (lambda h: h - with_flag(x) * h.mean(0) if seen(x).any() else h)(m.a(x).tanh())),
    "detached": lambda m, x: m.out(
        (lambda h: torch.where(seen(x)[:, None], h - h.mean(0).detach(), h))(m.a(x).tanh())),
    "assigned": assigned,
    "filled": lambda m, x: m.out((lambda h: h + h.amax(0).masked_fill(~seen(x)[:, None], 0))(m.a(x).tanh())),
    "how many there are": lambda m, x: m.out(m.a(x).tanh() + with_flag(x) * (x.abs() > 0.5).float().mean()),
    "the next one": lambda m, x: m.out(torch.where(seen(x)[:, None], m.a(x).roll(1, 0), m.a(x))),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [None, 64])
@pytest.mark.parametrize("name", FEW)
def test_a_few_samples_that_meet_others_are_refused_at_any_chunk(name, chunk):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(Net(FEW[name]), rising(131, 300), chunk=chunk)


def test_a_loss_in_which_few_samples_meet_is_refused():
    def met(out, y):
        each = gradients.cross_entropy(out, y)
        return torch.where(out[:, 0] > 10, each - each.mean(), each)

    torch.manual_seed(0)
    model = Net(lambda m, x: x[:, :3] + m.out(x) * 0.1)
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(model, rising(131, 300), met)


@pytest.fixture
def passes(monkeypatch):
    """Chunks that were passed once more as a whole."""
    again, check_all = [], verify.Watch.check_all
    monkeypatch.setattr(verify.Watch, "check_all", lambda *args: (again.append(args[2:4]), check_all(*args))[1])
    return again


APART = {
    "masked": lambda m, x: m.out(m.a(x.masked_fill(x > 1, 0)).tanh()),
    "clipped": lambda m, x: m.out(torch.where(m.a(x) > 0.5, m.b(x), m.a(x)).clamp(-2, 2)),
    "tokens first": lambda m, x: m.out(m.a(x.view(-1, 1, 6).transpose(0, 1)).tanh().mean(0)),
    "a share of those that are seen": lambda m, x: m.out(m.a(x) * (x > 0).sum(1, keepdim=True) / 6),
    "by its own largest": lambda m, x: m.out(m.a(x) * (x.argmax(1) > 2)[:, None]),
    "a table": lambda m, x: m.out(m.a(x) + m.b.weight[torch.tensor([0, 3, 3, 1, 2, 2])].mean(0)),
    "each by its number": lambda m, x: m.out(m.a(x)[torch.arange(len(x)), :]),
}


@pytest.mark.parametrize("name", APART)
def test_samples_that_keep_apart_are_passed_once(name, passes):
    torch.manual_seed(0)
    model, test = Net(APART[name]), rising(131, 300)
    for found in (gradients.statistics(model, test), gradients.statistics(model, test)):
        assert passes == []
        assert_right(found, naive_of(model, test))


def test_words_keep_apart_unless_one_sample_counts_those_of_all(passes):
    class Words(nn.Module):
        def __init__(self, counted):
            super().__init__()
            self.embed, self.out, self.counted = nn.Embedding(9, 6), nn.Linear(6, 3), counted

        def forward(self, x):
            h = self.embed(x) * (x != 0)[..., None]
            shift = torch.where((x[:, :1] == 8), (x == 0).float().mean(), 0.0) if self.counted else 0
            return self.out(h.mean(1) + shift)

    torch.manual_seed(0)
    test = split(torch.randint(8, (200, 5)))
    plain = Words(False)
    assert_right(gradients.statistics(plain, test), naive_of(plain, test))
    assert passes == []
    test.images[77, 0] = 8
    with pytest.raises(ValueError, match="depends on the other images of its batch"):
        gradients.statistics(Words(True), test)


def test_a_sample_alone_and_pairs_are_passed_with_others(passes):
    torch.manual_seed(0)
    model, test = Net(by_index), rising(2, 5)
    for chunk in (1, 2, 4):
        assert_right(gradients.statistics(model, test, chunk=chunk), naive_of(model, test))
    assert passes
    one = split(test.images[:1])
    assert_right(gradients.statistics(model, one), naive_of(model, one))


ASIDE = {
    "a mean": lambda x: x.mean(0),
    "a number": lambda x: x * float(x.sum()),
    "a comparison": lambda x: x if torch.equal(x, x + 1) else x * 2,
    "a truth of all": lambda x: x * (x > 0).any(),
    "some rows": lambda x: x[x[:, 0] > 0],
    "a given order": lambda x: x[torch.tensor([0, 2, 1])],
    "turned": lambda x: x.flip(0),
    "longer": lambda x: torch.cat([x, x], 0),
    "sums over samples": lambda x: x * (x > 0).sum(0),
    "a choice that is not in three": lambda x: x * torch.where(x[:, 0] > 0, torch.ones(4, 3), torch.zeros(4, 3)).sum(),
    "an error": lambda x: x.nothing(),
    "numbers of samples in one": lambda x: x + (x > 0).sum(0).float(),
}


@pytest.mark.parametrize("name", ASIDE)
def test_what_lets_samples_meet_is_seen_whatever_they_show(name):
    class One(nn.Module):
        def forward(self, x):
            return ASIDE[name](x)

    test = rising()
    assert not apart.keep_apart(One(), lambda out, y: out, test.images[:3], test.labels[:3], Kept(One()))


def test_a_lack_of_memory_is_no_answer():
    class Large(nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("too much")

    with pytest.raises(torch.OutOfMemoryError):
        apart.keep_apart(Large(), None, torch.zeros(3, 2), torch.zeros(3), Kept(Large()))


def test_rows_are_the_same_if_sizes_and_whole_numbers_are():
    a, b = torch.randn(4, 2), torch.arange(4)
    assert company._close(a, a.flip(0), [0, 1], [3, 2]) and not company._close(a, a, [0, 1], [1, 0])
    assert not company._close(a, torch.randn(4, 3), [0], [0])
    assert company._close(b, b, [1], [1]) and not company._close(b, b, [1], [2])
