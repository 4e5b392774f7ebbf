"""Certificates: chains of them make a record of older code as good as one of today's; a broken file of them is no
permission.
"""

import json
import os
import shutil

import pytest
from test_store import NET, Child, Toy, computed, folder, shelves, tamper  # noqa: F401  shelves is a fixture

from pruning_lab import environment
from pruning_lab.records import certificates, source, store
from pruning_lab.records.source import state
from pruning_lab.running import certify, forecast
from pruning_lab.training import fit as train

A, B, C = ({"train": digest} for digest in ("aaa", "bbb", "ccc"))


def certificate(*steps, devices="all", kind="Toy", since="abc"):
    """A certificate from one state of the code to the next, for one kind."""
    return dict(kind="bits", since=since, devices=devices, states={kind: {state(a): state(b) for a, b in steps}})


@pytest.mark.parametrize(
    "found, expected",
    [
        ([], "unverified"),
        ([certificate((A, C))], "certified"),
        ([certificate((A, B)), certificate((B, C))], "certified"),
        ([certificate((B, C)), certificate((A, B))], "certified"),  # in whatever order they stand
        ([certificate((A, B))], "unverified"),
        ([certificate((C, A))], "unverified"),  # not backwards
        ([certificate((A, C), kind="Other")], "unverified"),
        ([certificate((A, B), (B, A), (B, C))], "certified"),
        ([certificate((A, B), (B, A))], "unverified"),
    ],
)
def test_a_chain_of_certificates_leads_from_a_record_to_today(found, expected):
    certificates.save(found)
    assert certificates.standing("Toy", A, C) == expected and certificates.standing("Toy", C, C) == "current"


def test_what_was_tried_on_a_cpu_covers_a_gpu_only_where_it_says_so():
    for devices, expected in (("cpu", "unverified"), ("all", "certified")):
        certificates.save([certificate((A, C), devices=devices)])
        assert (
            certificates.standing("Toy", A, C, "cuda") == expected
            and certificates.standing("Toy", A, C, "cpu") == "certified"
        )


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"format": 2, "certificates": []}', '{"format": 1}', '{"format": 1, "certificates": [{}]}',
     '{"format": 1, "certificates": [{"devices": "tpu", "states": {}}]}',
     '{"format": 1, "certificates": [{"devices": "all", "states": {"Toy": {"a": 1}}}]}',
     '{"format": 1, "certificates": [{"devices": "all", "states": ["Toy"]}]}'],
)  # fmt: skip
def test_a_broken_file_of_certificates_is_one_clear_error(text):
    certificates.save([])
    certificates.file().write_text(text)
    with pytest.raises(ValueError, match="certificates.json is broken .*: take it from git again, or run"):
        certificates.standing("Toy", A, C)


def certified(e, change):
    """Make the local record of an experiment one of other code, for which there is a certificate."""
    code = e.code() | change
    tamper(e, code=code)
    certificates.save([*certificates.stored(), certificate((code, e.code()), kind=type(e).__name__)])


def test_a_certified_record_is_as_good_as_a_current_one():
    toy = Toy("a")
    store.run(toy)
    certified(toy, {"train": "000000000000"})
    found = store.run(toy)
    assert found.standing == "certified" and found.notes == () and found.shelf == "local" and computed() == 1
    child = store.run(Child(toy))
    assert child.standing == "current" and child.meta["code"] == Child(toy).code()
    store.publish(toy)
    assert store.find(toy).shelf == "published" and store.find(toy).standing == "certified"
    certificates.file().unlink()
    shutil.rmtree(folder(toy, "published"))
    assert store.find(toy) is None and store.find(Child(toy)).standing == "current"


# what a run left that did not end


OLD, OLDER = ({"train": digest * 12} for digest in "01")


def half(e, change, text="half done", beside=None):
    """The state that a run of other code left, and a file beside it."""
    code = e.code() | change
    file = store.states() / f"{type(e).__name__}-{e.key}-{state(code)[:8]}.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    if beside:
        file.with_suffix(".peak.safetensors").write_text(beside)
    return code, file


@pytest.fixture
def met(monkeypatch):
    """What each computing toy finds in its scratch file and beside it."""
    seen = []

    def compute(self, was=Toy.compute):
        files = store.scratch(self), store.scratch(self).with_suffix(".peak.safetensors")
        seen.append(tuple(f.read_text() if f.is_file() else None for f in files))
        return was(self)

    monkeypatch.setattr(Toy, "compute", compute)
    return seen


def leftovers():
    return [f.name for f in store.states().iterdir()]


@pytest.mark.parametrize(
    "steps, options, taken",
    [
        ([("old", "today")], {}, True),
        ([("old", "middle"), ("middle", "today")], {}, True),
        ([], {}, False),
        ([("today", "old")], {}, False),
        ([("old", "middle")], {}, False),
        ([("old", "today")], dict(kind="Other"), False),
        ([("old", "today")], dict(devices="cpu"), True),
    ],
    ids=["certified", "by two steps", "uncertified", "backwards", "not as far", "another kind", "on a CPU"],
)
def test_what_a_run_of_older_code_left_is_gone_on_with_where_that_is_certified(met, steps, options, taken):
    toy = Toy("a")
    code, file = half(toy, OLD, beside="a peak")
    codes = dict(old=code, today=toy.code(), middle=toy.code() | OLDER)
    certificates.save([certificate(*[(codes[a], codes[b]) for a, b in steps], **options)])
    assert store.half_done(toy) == (file if taken else None) and file.is_file()  # a look moves nothing
    store.run(toy)
    assert met == [("half done", "a peak") if taken else (None, None)] and leftovers() == []


def test_what_was_tried_on_a_cpu_says_nothing_of_a_half_done_run_on_a_gpu(monkeypatch):
    toy = Toy("a")
    code, file = half(toy, OLD)
    monkeypatch.setattr(environment, "device", lambda: type("Device", (), dict(type="cuda")))
    for devices, expected in (("cpu", None), ("all", file)):
        certificates.save([certificate((code, toy.code()), devices=devices)])
        assert store.half_done(toy) == expected


def test_of_what_several_left_todays_comes_first_and_then_the_newest(met):
    toy = Toy("a")
    (old, first), (older, second) = half(toy, OLD, "older"), half(toy, OLDER, "newer")
    os.utime(first, ns=(1, 1))
    certificates.save([certificate((old, toy.code()), (older, toy.code()))])
    assert store.half_done(toy) == second
    half(toy, {}, "today's")
    assert store.half_done(toy) == store.scratch(toy)
    store.run(toy)
    assert met == [("today's", None)] and leftovers() == []


def test_first_digits_that_two_states_share_lead_here_only_if_both_do():
    today = {"train": "ccc"}
    pairs = {"12345678aaaa": state(today), "12345678bbbb": state(today)}
    made = certificate() | dict(states={"Toy": pairs})
    certificates.save([made])
    assert certificates.leads_here("Toy", "12345678", today) and not certificates.leads_here("Toy", "12345679", today)
    assert certificates.leads_here("Toy", state(today)[:8], today)
    assert not certificates.leads_here("Other", "12345678", today)
    certificates.save([made | dict(states={"Toy": pairs | {"12345678bbbb": "elsewhere"}})])
    assert not certificates.leads_here("Toy", "12345678", today)


def test_a_state_is_taken_over_only_by_who_holds_the_lock(met):
    toy = Toy("a")
    code, file = half(toy, OLD)
    certificates.save([certificate((code, toy.code()))])
    holder = store.lock(toy)
    with holder, pytest.raises(store.Timeout):
        waits = store.lock
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(store, "lock", lambda e, timeout=-1: waits(e, timeout=0))
            store.run(toy)
    assert file.read_text() == "half done" and not store.scratch(toy).exists() and met == []
    store.run(toy)
    assert met == [("half done", None)]


def test_a_death_while_a_state_is_taken_over_loses_nothing(met, monkeypatch):
    toy = Toy("a")
    code, file = half(toy, OLD, beside="a peak")
    certificates.save([certificate((code, toy.code()))])
    rename = type(file).replace

    def dies(self, to):
        if self == file:
            raise KeyboardInterrupt
        return rename(self, to)

    with monkeypatch.context() as patch:
        patch.setattr(type(file), "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            store.run(toy)
    store.run(toy)
    assert met == [("half done", "a peak")]


def test_a_training_goes_on_after_a_certified_change_of_code_and_gives_the_same(monkeypatch, capsys):
    net = type(NET)("digits", "lenet_300_100", train.Recipe(lr=0.1, epochs=4), width=6, limit=150)
    alone, real = net.compute(), source.code_of
    monkeypatch.setitem(train.fit.__kwdefaults__, "save_every", 0.0)
    epochs, one_epoch = [], train._Run.one_epoch

    def counted(run, stop=None):
        if run.state.epoch == stop:
            raise KeyboardInterrupt
        epochs.append(run.state.epoch)
        one_epoch(run)

    with monkeypatch.context() as patch:
        patch.setattr(source, "code_of", lambda *kinds: real(*kinds) | {"train": "000000000000"})
        patch.setattr(train._Run, "one_epoch", lambda run: counted(run, stop=2))
        old = net.code()
        with pytest.raises(KeyboardInterrupt):
            store.run(net)
    monkeypatch.setattr(train._Run, "one_epoch", counted)
    assert forecast.done(net) == 0.0
    certificates.save([certificate((old, net.code()), kind="Train")])
    assert forecast.done(net) == 0.5
    found = store.run(net)
    assert epochs == [0, 1, 2, 3] and "starts over" not in capsys.readouterr().err
    assert found.table.test_loss.tolist() == alone.table.test_loss.tolist() and leftovers() == []


def test_every_published_record_is_current_or_certified(monkeypatch):
    """Code that changed since a record was made needs a certificate, or a raised version and a new record."""
    monkeypatch.delenv("PRUNING_LAB_RESULTS")
    if not environment.published_shelf().is_dir():
        pytest.skip("nothing is published")
    left = certify.unverified()
    told = "\n".join(left[:10])
    assert not left, (
        f"{len(left)} published records rest on other code than today's: run `python -m pruning_lab certify`, or, "
        f"where an answer is meant to change, raise that class's `version`, sweep and publish.\n{told}"
    )


def test_a_record_that_is_neither_is_named(monkeypatch):
    monkeypatch.setattr(certify.experiments, "Toy", Toy, raising=False)
    for name in ("a", "b", "c"):
        store.run(Toy(name))
        store.publish(Toy(name))
    tamper(Toy("a"), "published", code={"train": "000000000000"})
    assert certify.unverified() == [f"Toy/{Toy('a').key}: made by other code than today's"]
    monkeypatch.setattr(Toy, "version", property(lambda self: 2 if self.name == "b" else 1))
    left = certify.unverified()
    assert len(left) == 2 and f"superseded by {Toy('b').key}; sweep and publish that" in left[1]


def test_a_newer_certificate_replaces_one_since_the_same_commit_unless_a_record_needs_it(monkeypatch):
    monkeypatch.setattr(certify.experiments, "Toy", Toy, raising=False)
    toy = Toy("a")
    store.run(toy)
    store.publish(toy)
    today, middle = toy.code(), toy.code() | {"train": "mid"}
    shelf = [("Toy", dict(code=A, device=dict(type="cpu")), toy)]
    certify.keep(certificate((A, middle)), shelf)
    certify.keep(certificate((A, today)), shelf)
    assert [c["states"]["Toy"] for c in certificates.stored()] == [{state(A): state(today)}]
    certificates.save([certificate((B, A))])
    both = [*shelf, ("Toy", dict(code=B, device=dict(type="cpu")), toy)]
    certify.keep(certificate((A, today)), both)
    assert (
        len(certificates.stored()) == 2 and json.loads(certificates.file().read_text())["format"] == certificates.FORMAT
    )
