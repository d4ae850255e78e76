"""What a page costs before it can be read: kB over the line, seconds until it is seen.

    .venv/bin/python benchmarks/page_weight.py [page ...]

Serves the built site gzipped, as a host would, to a Chromium whose line carries 4 Mbit/s
after 40 ms; nothing is scrolled. Counted is what came before the page's load event, headers
included. LCP, the largest contentful paint, is when the largest thing in sight was drawn.
"""

import argparse
import functools
import gzip
import http.server
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SITE = ROOT / "_build/html"
MBIT, LATENCY = 4, 40
PACKED = {".html", ".css", ".js", ".mjs", ".svg", ".json", ".txt"}
LCP = """() => new Promise(done => new PerformanceObserver(
    list => done(list.getEntries().at(-1).startTime / 1000)
).observe({type: 'largest-contentful-paint', buffered: true}))"""


class Gzipped(http.server.SimpleHTTPRequestHandler):
    """The files of a folder; those that are text are packed."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in PACKED or not path.is_file():
            return super().do_GET()
        body = packed(path, path.stat().st_mtime_ns)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@functools.cache
def packed(path, changed):
    return gzip.compress(path.read_bytes())


@contextmanager
def serve(site=SITE):
    """The address of the site while the context lasts."""
    handler = functools.partial(Gzipped, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def measure(browser, address, mbit=MBIT, width=1280):
    """Open a page in a fresh window with an empty cache.

    Returns:
        kB until load, the seconds to the load event and to the largest contentful paint,
        and what came: a list of (kB, name), heaviest first.
    """
    context = browser.new_context(viewport={"width": width, "height": 900})
    view = context.new_page()
    line = context.new_cdp_session(view)
    line.send("Network.enable")
    if mbit:
        line.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": LATENCY,
                "downloadThroughput": mbit * 1e6 / 8,
                "uploadThroughput": mbit * 1e6 / 8,
            },
        )
    names, came = {}, []
    line.on("Network.requestWillBeSent", lambda e: names.update({e["requestId"]: e["request"]}))
    line.on(
        "Network.loadingFinished",
        lambda e: came.append((e["encodedDataLength"] / 1000, names[e["requestId"]]["url"])),
    )
    view.goto(address, wait_until="load", timeout=60_000)
    until_load = sorted(
        ((kb, url.split("?")[0].split("/", 3)[-1]) for kb, url in came if url[:5] != "data:")
    )[::-1]
    load = view.evaluate("performance.getEntriesByType('navigation')[0].loadEventStart / 1000")
    view.wait_for_timeout(300)
    lcp = view.evaluate(LCP)
    context.close()
    return sum(kb for kb, _ in until_load), load, lcp, until_load


def main():
    from playwright.sync_api import sync_playwright

    sys.path.insert(0, str(ROOT / "scripts"))
    import chromium

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pages", nargs="*", help="as notebooks/03_attention.html")
    parser.add_argument("--site", type=Path, default=SITE)
    parser.add_argument("--parts", action="store_true", help="list what came, too")
    arguments = parser.parse_args()
    pages = arguments.pages or sorted(
        str(p.relative_to(arguments.site))
        for folder in ("book", "notebooks")
        for p in (arguments.site / folder).glob("*.html")
    )
    print(f"{'page':34} {'kB':>6} {'load s':>7} {'LCP s':>6}")
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright, serve(arguments.site) as address:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=options)
        for page in pages:
            kb, load, lcp, came = measure(browser, f"{address}/{page}")
            print(f"{page:34} {kb:6.0f} {load:7.2f} {lcp:6.2f}", flush=True)
            if arguments.parts:
                print("".join(f"{size:12.1f} {name}\n" for size, name in came))
        browser.close()


if __name__ == "__main__":
    main()
