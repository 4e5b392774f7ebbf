"""Defaults of settings: records are found by what differs from them, so that one that changes gives old records another
meaning.
"""

from dataclasses import MISSING, fields

import pytest

from pruning_lab import Recipe, experiments

GROUP = ("norm", "frame_potential", "random")
DEFAULTS = {
    "Recipe": dict(
        optimizer="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, batch=64, iterations=None, epochs=None, drops=(),
        drop_factor=0.1, shuffle=True, augmentation="none", precision="float32", holdout=0, keep="last",
        tested_on=None, loss="cross_entropy", stop_loss=None, stop_reading="running", stop_margin=None,
    ),
    "Train": dict(
        seed=0, width=None, init="default", scale="unit", image_size=None, limit=None, start=None, options=(),
    ),
    "UnitCurve": dict(group=GROUP, repeats=5, sample=1000, test_images=None),
    "UnitImportance": dict(test_images=None),
    "GradientSnapshots": dict(sample=None, followed=10_000),
    "GradientHistory": dict(ends=10),
    "Snapshots": dict(sample=1000),
    "LayerStructure": dict(deviations=4.0, neighbours=5, at=None, null="permuted"),
    "LayerGraph": dict(at=None, orders=GROUP),
    "MaskSources": dict(sample=None, density=0.1, refreshed=False),
    "MaskedTraining": dict(
        criterion="magnitude", density=0.1, scope="global", floor=0.0, skip=(), invert=False, shuffle=None,
        begin="fresh", recipe=None, sample=None, seed=0, refreshed=False,
    ),
    "FilterClusters": dict(layer="conv1", clusters=4),
    "CentreStart": {},
    "UnitRepeats": dict(layer="fc1", sample=1000),
    "Xord": dict(
        seed=0, runs=100, n=60, d=10, lr=0.5, margin=1.0, deviation=1e-3, steps=1000, kept=3, start=None,
    ),
    "TeacherStudent": dict(both=True, noise=0.1, seed=0, teacher=2, inputs=50, lr=0.5, steps=40_000),
    "RandomFeatures": dict(seed=0, sigma=5.0, noises=(0.0,), ridge=0.0, image_size=None, tested_on=None),
    "Forest": dict(seed=0, noise=0.0, image_size=None, tested_on=None),
    "ShallowNets": dict(
        epochs=6_000, seed=0, noise=0.0, lr=0.01, momentum=0.95, batch=128, decay=0.9, every=500, sd=0.1,
        image_size=None, tested_on=None,
    ),
    "Projection": dict(ranks=(1, 2, 4, 8, 16, 32, 64, 128), test_images=None),
    "Spectrum": dict(epochs=(0,), ranks=(), sample=2000),
    "InferenceSpeed": dict(
        ratio=10.0, density=0.1, shape=(3, 32, 32), classes=10, batches=(1, 32, 1000), rounds=30, seed=0,
    ),
}  # fmt: skip
KINDS = {kind.__name__: kind for kind in (Recipe, *(getattr(experiments, name) for name in experiments.__all__))}


@pytest.mark.parametrize("name", KINDS)
def test_a_default_never_changes(name):
    today = {f.name: f.default for f in fields(KINDS[name]) if f.default is not MISSING}
    pinned = DEFAULTS.get(name, {})
    assert all(f.default_factory is MISSING for f in fields(KINDS[name])), (
        f"{name}: a default that is made anew cannot be held here"
    )
    moved = {k: (pinned[k], today.get(k, "none")) for k in pinned if repr(today.get(k, MISSING)) != repr(pinned[k])}
    assert not moved, (
        f"{name}: defaults were and are {moved}. A record's key names what differs from them, and a record that lacks "
        f"a field has its default: every record of {name} would stand for other settings. Put the old default back, "
        f"and give the new value in the chapters' plans; or raise `version` of {name} and of all that is "
        "made of it, and change this table, too"
    )
    new = sorted(today.keys() - pinned.keys())
    assert not new, (
        f"{name}: {new} are new. The default of a new field is what all records made before had: hold it in this table"
    )


def test_the_table_names_no_class_that_there_is_not():
    other = sorted(DEFAULTS.keys() ^ KINDS.keys())
    assert not other, f"{other}: give each experiment a row in this table, and no row to what is gone"
