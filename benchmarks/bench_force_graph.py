"""The force graph against its limits: encoding, state, first picture and frames a second in headless Chromium."""

import json
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from ipywidgets.embed import embed_data

from pruning_lab.widgets import ForceGraph

HOST = Path(__file__).resolve().parents[1] / "book" / "_static" / "vendor" / "widgets-host.js"
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
# Moves a slider one step back and forth at every frame for `seconds`; returns how often the graph was drawn a second.
DRAG = """async ([canvas, input, seconds]) => {
    const start = performance.now(), before = Number(canvas.dataset.frames), at = Number(input.value);
    for (let k = 0; performance.now() - start < 1000 * seconds; k++) {
        input.value = at + Number(input.step) * (k % 2);
        input.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
    }
    input.value = at;
    input.dispatchEvent(new Event("input"));
    return (Number(canvas.dataset.frames) - before) / (performance.now() - start) * 1000;
}"""


def weights(units: int, times: int, inputs: int) -> np.ndarray:
    """Random weights [T, U, D] that change slowly."""
    rng = np.random.default_rng(0)
    start, goal = rng.normal(size=(2, units, inputs)).astype(np.float32)
    return np.stack([start + part * goal for part in np.linspace(0, 1, times, dtype=np.float32)])


def cutoff_for(graph: ForceGraph, edges: int) -> float:
    """A cut-off in hundredths at which the first snapshot shows about so many edges."""
    cosines = np.sort(graph.edges(0)[2])[::-1]
    return float(np.floor(100 * cosines[min(edges, len(cosines)) - 1]) / 100)


def page(widget, folder: Path) -> str:
    """The address of a page with this widget alone, made of files."""
    data = embed_data(views=[widget], drop_defaults=False)
    kinds = [("widget-state", data["manager_state"]), ("widget-view", data["view_specs"][0])]
    tags = [
        f'<script type="application/vnd.jupyter.{kind}+json">{json.dumps(content)}</script>' for kind, content in kinds
    ]
    shutil.copy(HOST, folder)
    path = folder / "widget.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><body>{"".join(tags)}<script src="{HOST.name}"></script>',
        encoding="utf-8",
    )
    return path.as_uri()


def processor(session) -> float:
    """Milliseconds of processor that the page's main thread has used so far."""
    return (
        next(m["value"] for m in session.send("Performance.getMetrics")["metrics"] if m["name"] == "ThreadTime") * 1000
    )


def dragged(tab, canvas, name: str, session) -> tuple[float, float]:
    """Frames a second while a slider is dragged, and milliseconds of processor a frame."""
    slider = tab.get_by_role("slider", name=name)
    frames, used = int(canvas.get_attribute("data-frames")), processor(session)
    rate = tab.evaluate(DRAG, [canvas.element_handle(), slider.element_handle(), 4])
    return rate, (processor(session) - used) / (int(canvas.get_attribute("data-frames")) - frames)


def drawn(browser, graph: ForceGraph) -> tuple[float, dict[str, tuple[float, float]], int]:
    """Milliseconds to the first picture; for each slider what `dragged` says; edges shown."""
    with tempfile.TemporaryDirectory() as folder:
        tab = browser.new_page(viewport={"width": 1000, "height": 900})
        tab.goto(page(graph, Path(folder)))
        canvas = tab.locator(".fg-drawing > canvas")
        tab.wait_for_function("canvas => canvas.dataset.first !== undefined", arg=canvas.element_handle())
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        rates = {name: dragged(tab, canvas, name, session) for name in ("Cosine at least", "Epoch")}
        tab.wait_for_timeout(1000)
        edges = int(tab.locator(".fg-summary").inner_text().split(" edges")[0].split()[-1])
        first = float(canvas.get_attribute("data-first"))
        tab.close()
    return first, rates, edges


def main() -> None:
    """One line a size, with the limit beside what was measured."""
    from playwright.sync_api import sync_playwright

    script = len(ForceGraph._esm.encode())
    print(f"the widget's module: {script / 1000:.1f} kB (limit 40)")
    sizes = [(300, 30, 784, 1200, 50, 500), (512, 30, 4608, 2500, 50, 1000), (1024, 12, 784, 5000, 30, 1000)]
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=ARGUMENTS)
        for units, times, inputs, edges, least, most in sizes:
            rows = weights(units, times, inputs)
            start, used = time.perf_counter(), time.process_time()
            graph = ForceGraph.from_snapshots(rows, range(times))
            seconds, used = time.perf_counter() - start, time.process_time() - used
            graph.cutoff = cutoff_for(graph, edges)
            first, rates, shown = drawn(browser, graph)
            told = ", ".join(f"{name}: {rate:.0f}, {cost:.1f} ms of processor a frame, "
                             f"{1000 * cost / shown:.1f} µs an edge"
                             for name, (rate, cost) in rates.items())  # fmt: skip
            print(f"{units} units, {times} snapshots of {inputs}: encoded in {seconds:.1f} s "
                  f"({used:.1f} s of processor; limit 3), state {graph.state_bytes() / 1000:.0f} kB (limit {most}), "
                  f"first picture {first:.0f} ms (limit 1000), "
                  f"frames a second with {shown} edges (limit {least}): {told}")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
