"""How long a reader on a slow machine and line waits for the first content of each page, and what the page weighs.

Chromium with a cold cache, its processor slowed down four times, 10 Mbit/s, 40 ms: `python benchmarks/bench_pages.py
[FOLDER [PAGE ...]]`, by default of `_build/html` and of all its pages. Of several visits the quickest counts: other
work on the machine only adds, and what is sent is compressed at the first one. Weights are gzipped, as servers send:
the page alone, and with all that it asks for before anybody scrolls, plotly's script aside.
"""

import functools
import gzip
import http.server
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

SLOWER, LATENCY, BYTES = 4, 40, 10_000_000 / 8  # times, ms, bytes a second
MOST_SECONDS, MOST_BYTES = 1.5, 1_000_000
VISITS = 3
PAINT = """() => new Promise((resolve) => {
  const first = ({ name }) => name === "first-contentful-paint";
  const seen = (entries) => entries.filter(first).forEach(({ startTime }) => resolve(startTime));
  seen(performance.getEntriesByType("paint"));
  new PerformanceObserver((list) => seen(list.getEntries())).observe({ type: "paint", buffered: true });
})"""


class Zipped(http.server.SimpleHTTPRequestHandler):
    """Sends files compressed, as servers of pages do."""

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        content = _zipped(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing."""


@functools.cache
def _zipped(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), 6)


def measured(browser, address: str, folder: Path) -> tuple[float, int, int]:
    """Seconds to the first content, bytes of the page, bytes with what it asks for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(300_000)  # other programs may compute, too
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(urlsplit(request.url).path.lstrip("/")))
    speaks = context.new_cdp_session(page)
    speaks.send("Network.enable")
    speaks.send("Network.setCacheDisabled", {"cacheDisabled": True})
    line = dict(offline=False, latency=LATENCY, downloadThroughput=BYTES, uploadThroughput=BYTES)
    speaks.send("Network.emulateNetworkConditions", line)
    speaks.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
    page.goto(address, wait_until="commit")
    seconds = page.evaluate(PAINT) / 1000
    page.wait_for_load_state("load")
    context.close()
    files = [folder / name for name in dict.fromkeys(asked) if "plotly" not in name and (folder / name).is_file()]
    return seconds, len(_zipped(files[0])), sum(len(_zipped(file)) for file in files)


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else "_build/html").resolve()
    pages = sys.argv[2:] or sorted(path.stem for path in (folder / "book").glob("*.html"))
    if not pages:
        raise SystemExit(f"no pages in {folder}: `make book` first")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Zipped, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"first content within {MOST_SECONDS} s, a page of at most {MOST_BYTES / 1000:,.0f} kB is wanted")
    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in pages:
            address = f"http://127.0.0.1:{server.server_port}/book/{name}.html"
            found = min(measured(chromium, address, folder) for _ in range(VISITS))
            late = " late" * (found[0] > MOST_SECONDS) + " heavy" * (found[1] > MOST_BYTES)
            print(f"{name:24} {found[0]:5.2f} s  {found[1] / 1000:7,.0f} kB  {found[2] / 1000:7,.0f} kB in all{late}")
        chromium.close()


if __name__ == "__main__":
    main()
