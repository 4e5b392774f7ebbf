"""The force graph: a node a unit, an edge a small angle between two weight vectors, while a layer trains."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anywidget
import numpy as np
import traitlets as t

from ..units import structure
from . import encoding, graph_state
from .graph_state import KERNELS, SPEEDS
from .graph_still import still
from .still import Still

STATIC = Path(__file__).parent / "static"
LIMIT = {300: 500_000, encoding.MOST_UNITS: 1_000_000}  # bytes of state in the page, by number of units


class ForceGraph(anywidget.AnyWidget):
    """A graph that a reader can turn: made by `from_snapshots` or `from_gram`, drawn by static/force_graph.js.

    >>> import numpy as np
    >>> from pruning_lab import widgets
    >>> weights = np.eye(3, 4)[None]  # one snapshot of three units
    >>> graph = widgets.ForceGraph.from_snapshots(weights, epochs=[0])
    >>> graph.node_norms().round(2).tolist()
    [[1.0, 1.0, 1.0]]
    """

    _esm = (STATIC / "force_graph.js").read_text(encoding="utf-8")
    _css = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("controls.css", "force_graph.css"))

    # What is drawn; js/force_graph/decode.js reads it.
    meta = t.Dict().tag(sync=True)
    pairs = t.Bytes().tag(sync=True)  # encoding.Pairs.data
    norms = t.Bytes().tag(sync=True)  # uint16 [T, U], parts of meta["norm"] / 65535
    shares = t.Bytes().tag(sync=True)  # uint16 [T, U], parts of meta["share"] / 65535
    groups = t.Bytes().tag(sync=True)  # uint8, one block a colour in the order of meta["colours"]
    pictures = t.Bytes().tag(sync=True)  # uint8 [U, h, w, c]; 128 is zero

    # What a reader sets; each can be linked to a control in the page.
    snapshot = t.Int(0).tag(sync=True)
    cutoff = t.Float(0.5).tag(sync=True)
    sigma = t.Float(0.7).tag(sync=True)
    charge = t.Float(30.0).tag(sync=True)
    distance = t.Float(30.0).tag(sync=True)
    removed = t.Int(0).tag(sync=True)
    order = t.Int(0).tag(sync=True)
    colour = t.Int(0).tag(sync=True)
    kernel = t.Int(0).tag(sync=True)
    speed = t.Int(SPEEDS.index(1)).tag(sync=True)
    playing = t.Bool(False).tag(sync=True)

    @classmethod
    def from_snapshots(cls, weights, epochs: Sequence, **options) -> ForceGraph:
        """The graph of weights [T, U, ...] after `epochs` [T]; two nets in one graph: {name: [T, U, ...], ...}.

        Options are those of `from_gram`. Raises ValueError for NaN, no unit, over 2,048 units, unequal shapes, or more
        snapshots than fit.
        """
        if isinstance(weights, Mapping):
            nets = [encoding.snapshots(part) for part in weights.values()]
            if len({(len(part), part[0].shape[1]) for part in nets}) != 1:
                raise ValueError("the nets in one graph need as many snapshots and inputs as each other")
            options["nets"] = {name: len(part[0]) for name, part in zip(weights, nets, strict=True)}
            weights = [np.concatenate(parts) for parts in zip(*nets, strict=True)]
        rows = encoding.snapshots(weights)
        return cls._make(rows, lambda part, place: encoding.from_rows(encoding.finite(part, place)), epochs, **options)

    @classmethod
    def from_gram(cls, gram, epochs: Sequence, **options) -> ForceGraph:
        """The graph of inner products [T, U, U] of the weight vectors after `epochs` [T].

        Args:
            colours: name -> labels [U] or [T, U]; -1 and "" mean none.
            orders: name -> (units in the order they go, accuracy in [0, 1] after 0, 1, ... of them or None).
            pictures: the units at the last snapshot, [U, h, w] or [U, h, w, 3]; shown at 14 x 14 or less.
            nets: name -> number of units, in the order of the rows, where units of two nets are in one graph.
            title, name: what is drawn, in words; the name of the graph in the page's address, another for each graph of
                a page.
            time: what `epochs` count, in the singular: "epoch", "iteration".
            limit: bytes of state in the page; as many pairs are kept as fit, and each unit's three nearest.
            snapshot, cutoff, sigma, charge, distance, removed, order, colour, kernel, speed: where the controls start;
                order, colour and kernel are names, speed is in snapshots a second: 0.5, 1, 2 or 4.
        """
        grams = encoding.snapshots(gram, "Gram matrix")
        return cls._make(grams, lambda g, place: encoding.from_products(encoding.finite(g, place)), epochs, **options)

    @classmethod
    def from_layer(
        cls, table, arrays: Mapping[str, np.ndarray], curves: Mapping | None = None, **options
    ) -> ForceGraph:
        """The graph that a record of `LayerGraph` holds (its table and arrays); options are those of `from_gram`.

        curves: criterion -> accuracy in [0, 1] after 0, 1, ... units of its order are removed.
        """
        gram = structure.unpack(arrays["cosines"], arrays["norms"].astype(float))
        orders = {name.removeprefix("order."): units for name, units in arrays.items() if name.startswith("order.")}
        given = dict(
            time="iteration",
            colours={
                "preferred class": arrays["classes"],
                "community": arrays["communities"],
                "k-means cluster": arrays["clusters"],
            },
            orders={name.replace("_", " "): (units, (curves or {}).get(name)) for name, units in orders.items()},
            pictures=arrays.get("pictures"),
        )
        return cls.from_gram(gram, table.iteration, **(given | options))

    @classmethod
    def _make(
        cls,
        parts: list[np.ndarray],
        measure: Callable,
        epochs: Sequence,
        *,
        colours: Mapping | None = None,
        orders: Mapping | None = None,
        pictures=None,
        nets: Mapping[str, int] | None = None,
        title: str = "Weight vectors as a force graph",
        name: str = "graph",
        time: str = "epoch",
        limit: int | None = None,
        **start,
    ) -> ForceGraph:
        drawn = dict(colours=colours or {}, orders=orders or {}, pictures=pictures, nets=nets)
        told = dict(title=title, name=name, time=time)
        meta, groups, image = graph_state.described(len(parts[0]), len(parts), epochs, **drawn, **told)
        limit = limit or next(size for most, size in LIMIT.items() if meta["units"] <= most)
        fixed = len(cls._esm) + len(cls._css) + len(json.dumps(meta)) + 150 * len(parts) + 2_000
        free = int(0.75 * (limit - fixed)) - 4 * meta["units"] * len(parts) - len(groups)  # base64: 3 bytes in 4
        kept, norms, shares = graph_state.measured(parts, measure, meta["nets"], free // len(parts))
        pairs = encoding.pack(kept)
        meta |= {
            "offsets": pairs.offsets,
            "counts": pairs.counts,
            "anew": pairs.anew,
            "floors": [round(floor, 6) for floor in pairs.floors],
            "low": pairs.low,
            "high": pairs.high,
        }
        norm_bytes, meta["norm"] = graph_state.sixteen(norms)
        share_bytes, meta["share"] = graph_state.sixteen(shares)
        meta["start"] = graph_state.started(start, meta, kept)
        binary = dict(pairs=pairs.data, norms=norm_bytes, shares=share_bytes, groups=groups, pictures=image)
        return cls(meta=meta, **binary, **meta["start"])

    @property
    def floors(self) -> list[float]:
        """The weakest cosine [T] down to which every pair of a snapshot is in the graph."""
        return self.meta["floors"]

    def edges(self, snapshot: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Units i < j and cosines of the pairs that are kept of one snapshot, as the page decodes them."""
        fields = {key: self.meta[key] for key in ("offsets", "counts", "anew", "floors", "low", "high")}
        return encoding.unpack(encoding.Pairs(data=self.pairs, **fields), snapshot, self.meta["units"])

    def node_norms(self) -> np.ndarray:
        """Norms [T, U], as the page decodes them."""
        return np.frombuffer(self.norms, "<u2").reshape(-1, self.meta["units"]) * (self.meta["norm"] / 65535)

    def state_bytes(self) -> int:
        """Size of this widget in a page: its state as JSON, bytes in base64, its script included; pictures are not."""
        state = {key: value for key, value in self.get_state().items() if key != "pictures"}
        binary = [state.pop(key) for key in list(state) if isinstance(state[key], bytes | memoryview)]
        return len(json.dumps(state, default=str)) + sum(4 * math.ceil(len(part) / 3) + 60 for part in binary)

    def controls(self):
        """Sliders and menus for every setting, linked in the browser: they need no kernel."""
        import ipywidgets as w

        def slider(kind, trait, low, high, step, label):
            return _linked(
                kind(min=low, max=high, step=step, value=getattr(self, trait), description=label), self, trait
            )

        low = math.floor(100 * min(self.floors)) / 100
        rows = [_linked(w.ToggleButton(description="play"), self, "playing"),
                _menu(self, "speed", [f"{times} ×" for times in SPEEDS], "speed"),
                _linked(w.SelectionSlider(options=[str(e) for e in self.meta["epochs"]], index=self.snapshot,
                                          description=self.meta["time"]), self, "snapshot", "index"),
                slider(w.FloatSlider, "cutoff", min(low, self.cutoff), 1, 0.01, "cosine from"),
                slider(w.FloatSlider, "sigma", 0.05, 2, 0.05, "sigma"),
                slider(w.FloatSlider, "charge", 0, 200, 5, "charge"),
                slider(w.FloatSlider, "distance", 5, 150, 5, "link length")]  # fmt: skip
        if self.meta["orders"]:
            most = max(len(order["units"]) for order in self.meta["orders"])
            rows += [slider(w.IntSlider, "removed", 0, most, 1, "units removed"),
                     _menu(self, "order", [order["name"] for order in self.meta["orders"]], "order")]  # fmt: skip
        rows += [_menu(self, "colour", [colour["name"] for colour in self.meta["colours"]], "colour"),
                 _menu(self, "kernel", list(KERNELS), "kernel")]  # fmt: skip
        return w.VBox(rows)

    def fallback(self, snapshots: Iterable[int] | None = None, seed: int = 0) -> Still:
        """Four snapshots (or those named) side by side as one SVG: for print and for pages without scripts."""
        last = len(self.meta["epochs"]) - 1
        return self._still(sorted({round(i * last / 3) for i in range(4)}) if snapshots is None else snapshots, seed)

    def still(self, snapshots: Iterable[int] = (0, -1), seed: int = 0) -> Still:
        """The first and the last snapshot (or those named) side by side as one SVG, which a page always shows."""
        return replace(self._still(snapshots, seed), always=True)

    def _still(self, snapshots: Iterable[int], seed: int) -> Still:
        chosen, edges = [range(len(self.meta["epochs"]))[number] for number in snapshots], {}
        for number in chosen:
            i, j, cosines = self.edges(number)
            half = (self.meta["high"] - self.meta["low"]) / 510  # what eight bits may have taken
            shown = cosines >= max(self.cutoff, self.floors[number] - half) - 1e-9
            edges[number] = (i[shown], j[shown], cosines[shown])
        return still(
            self.meta, self.node_norms(), edges, sigma=self.sigma, kernel=self.kernel, cutoff=self.cutoff, seed=seed
        )


def _linked(control, graph, trait: str, its: str = "value"):
    import ipywidgets as w

    control.layout.width = "min(100%, 30rem)"
    control.style.description_width = "7rem"
    w.jslink((control, its), (graph, trait))
    return control


def _menu(graph, trait: str, names: list[str], label: str):
    import ipywidgets as w

    return _linked(w.Dropdown(options=names, index=getattr(graph, trait), description=label), graph, trait, "index")
