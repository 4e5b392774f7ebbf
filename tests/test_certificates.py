"""Certificates: chains of them make a record of older code as good as one of today's; a broken file of them is no permission."""

import json
import shutil

import pytest
from test_store import Child, Toy, computed, folder, shelves, tamper  # noqa: F401  shelves is a fixture

from pruning_lab import certificates, certify, environment, store
from pruning_lab.source import state

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
        assert certificates.standing("Toy", A, C, "cuda") == expected and certificates.standing("Toy", A, C, "cpu") == "certified"


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


def test_every_published_record_is_current_or_certified(monkeypatch):
    """Code that changed since a record was made needs a certificate, or a raised version and a new record."""
    monkeypatch.delenv("PRUNING_LAB_RESULTS")
    if not environment.published_shelf().is_dir():
        pytest.skip("nothing is published")
    left = certify.unverified()
    told = "\n".join(left[:10])
    assert not left, (
        f"{len(left)} published records rest on other code than today's: run `python -m pruning_lab certify`, or, where an answer is "
        f"meant to change, raise that class's `version`, sweep and publish.\n{told}"
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
    assert len(certificates.stored()) == 2 and json.loads(certificates.file().read_text())["format"] == certificates.FORMAT
