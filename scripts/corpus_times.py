"""How long the Corpus page takes over a data set: its queries in a process of their own, and the page in a browser.

    python scripts/corpus_times.py ROWS
    PANNSCOPE_CORPUS=ROWS pannscope serve --port 8501 &
    python scripts/corpus_times.py ROWS --url http://127.0.0.1:8501/corpus

The first prints seconds from a new process to the answers of the first view, and of filters after it. The second opens the page in chromium until all is
drawn, the first time in a browser that has kept nothing of the site, and changes a filter.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from functools import partial

THRESHOLD = 0.2  # the page's own
LAST = "the most frequent first"  # of what the page draws
IDLE = "[data-testid=stApp][data-test-script-state=notRunning]"
# The script's end says nothing of the tables, whose part of the site is loaded afterwards.
DRAWN = """() => [...document.querySelectorAll("[data-testid=stDataFrame]")].every(table => table.querySelector("canvas"))"""


def timed(what: str, work: Callable[[], object]) -> float:
    """Run and print the seconds that it took, and those that this process computed."""
    started, computed = time.perf_counter(), time.process_time()
    work()
    took = time.perf_counter() - started
    print(f"{took:6.2f} s  {what} ({time.process_time() - computed:.2f} s computed)")
    return took


def queries(folder: str) -> None:
    """What the page asks, in its order."""
    started = time.perf_counter()
    from core.batch.query import BOTH, SECOND, Corpus, Question

    corpus = Corpus(folder)
    pair = (corpus.models[0], corpus.models[-1])
    print(f"{time.perf_counter() - started:6.2f} s  import and open")
    first = timed("both networks' rows", lambda: corpus.count(pair))
    first += timed("label counts", lambda: corpus.labels(pair, THRESHOLD))
    first += timed("the rows that differ most", lambda: corpus.rows(pair, Question(None, THRESHOLD)))
    print(f"{first:6.2f} s  the first view's queries")
    label = corpus.labels(pair, THRESHOLD)[0][0]
    timed("a class", lambda: corpus.rows(pair, Question(label, THRESHOLD)))
    timed(
        "a class that both give, by name", lambda: corpus.rows(pair, Question(label, THRESHOLD, BOTH, True))
    )
    timed("given by the second alone", lambda: corpus.rows(pair, Question(None, THRESHOLD, SECOND)))
    timed("another threshold", lambda: (corpus.labels(pair, 0.5), corpus.rows(pair, Question(None, 0.5))))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"{peak:6.0f} MB at the highest, of which {corpus.nbytes / 1e6:.0f} MB are the rows")


def in_browser(url: str) -> None:
    """Seconds from the address to a page that is drawn, and from a choice to its rows."""
    from playwright.sync_api import Page, sync_playwright

    def drawn(page: Page) -> None:
        page.wait_for_selector(IDLE)
        page.wait_for_function(DRAWN)

    def opened(page: Page) -> None:
        page.goto(url, wait_until="commit")
        page.get_by_text(LAST).wait_for()
        drawn(page)

    def chosen(page: Page, number: int) -> None:
        before = page.get_by_role("heading", level=2).first.inner_text()
        page.get_by_role("combobox", name="Given by").click()
        page.get_by_role("option").nth(number).click()
        page.get_by_text(before, exact=True).wait_for(state="detached")
        drawn(page)

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        visitor = browser.new_context(viewport={"width": 1440, "height": 900})
        for visit in ("first visit", "second visit", "third visit"):
            page = visitor.new_page()
            timed(visit, partial(opened, page))
        for number, by in enumerate(("both networks", "the first alone", "the second alone"), start=1):
            timed(f"given by {by}", partial(chosen, page, number))
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", help="folder of a data set")
    parser.add_argument("--url", help="the Corpus page of a server that has it open")
    chosen = parser.parse_args()
    if chosen.url:
        in_browser(chosen.url)
    else:
        queries(chosen.rows)


if __name__ == "__main__":
    main()
