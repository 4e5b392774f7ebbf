"""The explorer against its limits: encoding, state, first picture and a slider's step in headless Chromium."""

import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from bench_force_graph import ARGUMENTS, page, processor

from pruning_lab.widgets import Explorer

NETS, SETS, LAYERS, EPOCHS, BINS = 2, 2, 10, 21, 201
# Moves a slider to its end, a step a frame; returns how often the chart was drawn.
STEPS = """async ([svg, input]) => {
    const before = Number(svg.dataset.drawn);
    for (let at = 1; at <= Number(input.max); at++) {
        input.value = at;
        input.dispatchEvent(new Event("input"));
        await new Promise(requestAnimationFrame);
    }
    return Number(svg.dataset.drawn) - before;
}"""


def histograms(noise: bool) -> pd.DataFrame:
    """A measured curve for each combination and a null for each net and data; with `noise` no bin is like its
    neighbour.
    """
    rng, centres = np.random.default_rng(0), np.round(np.linspace(-1, 1, BINS), 4)
    frames = []
    for net, data in np.ndindex(NETS, SETS):
        place = dict(net=f"net {net}", data=f"data {data}")
        null = np.exp(-(centres**2) / 0.01)
        frames.append(
            pd.DataFrame(dict(place, layer=None, epoch=np.nan, curve="null", diff=centres, share=null / null.sum()))
        )
        for layer, epoch in np.ndindex(LAYERS, EPOCHS):
            shares = np.exp(-(centres**2) / (0.02 + 0.01 * layer + 0.004 * epoch))
            seen = rng.random(BINS) if noise else rng.multinomial(100_000, shares / shares.sum()) / 1e5
            frames.append(
                pd.DataFrame(
                    dict(place, layer=f"layer {layer}", epoch=epoch, curve="measured", diff=centres, share=seen)
                )
            )
    return pd.concat(frames, ignore_index=True)


def drawn(browser, explorer: Explorer) -> tuple[float, float]:
    """Milliseconds until the module has drawn, and of processor for a step of its slider."""
    with tempfile.TemporaryDirectory() as folder:
        tab = browser.new_page(viewport={"width": 1000, "height": 900})
        tab.goto(page(explorer, Path(folder)))
        svg = tab.locator(".ex-drawing > svg[data-drawn]")
        svg.wait_for()
        first = float(svg.get_attribute("data-first"))
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        used = processor(session)
        steps = tab.evaluate(STEPS, [svg.element_handle(), tab.get_by_role("slider").element_handle()])
        used = (processor(session) - used) / steps
        tab.close()
    return first, used


def main() -> None:
    """One line a table, with the limit beside what was measured."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=ARGUMENTS)
        for name, noise in (("histograms of 100,000 draws", False), ("noise, which cannot be pressed", True)):
            table = histograms(noise)
            start, used = time.perf_counter(), time.process_time()
            explorer = Explorer(table, styles={"measured": "bar"}, title="Gradient signs")
            seconds, used = time.perf_counter() - start, time.process_time() - used
            first, step = drawn(browser, explorer)
            print(f"{len(table):,} points, {name}: encoded in {seconds:.2f} s ({used:.2f} s of processor; limit 1), "
                  f"state {explorer.state_bytes() / 1000:.0f} kB (limit 400), first picture {first:.0f} ms "
                  f"(limit 500), a step of the slider {step:.1f} ms of processor (limit 16)")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
