"""The page in a real browser, as a reader would have it."""

import base64
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from devtools import CHROMIUM, FLAGS, browser

from finetune.report import REPORT_PAGE
from finetune.report.facts import Facts
from finetune.report.write import write_report

needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no chromium on PATH: the page is not seen in a browser")

PROBE = """<script>addEventListener("load", () => {
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify({
    title: document.title,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    figures: [...document.querySelectorAll("svg")].map(svg => {
      const box = svg.getBoundingClientRect(), drawn = svg.getBBox();
      return [box.width, box.height, drawn.width, drawn.height, svg.querySelectorAll("path, use").length];
    }),
    unresolved: [...document.querySelectorAll("svg [style*='var(']")].filter(
      part => !/rgb/.test(getComputedStyle(part).fill + getComputedStyle(part).stroke)).length,
  });
  document.body.append(probe);
});</script></body>"""


def browse(page: Path, profile: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Open a page with no name that resolves, and the console on stderr."""
    return subprocess.run(
        [
            *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}"),
            *("--enable-logging=stderr", "--v=0", *arguments, page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def console(log: str) -> list[str]:
    return re.findall(r"CONSOLE.*", log)


@needs_chromium
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_as_a_browser_shows_it(make_facts: Callable[..., Facts], tmp_path: Path, width: int) -> None:
    page = write_report(tmp_path, make_facts()).page
    seen = browse(page, tmp_path / "profile", "--dump-dom", f"--window-size={width},2000")
    assert console(seen.stderr) == []
    assert "<script" not in seen.stdout.replace("&lt;script", "")

    # The same page with a script in it, which its policy would not let run: to measure what is drawn.
    html = page.read_text()
    probed = tmp_path / "probed.html"
    probed.write_text(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html).replace("</body>", PROBE))
    shown = browse(probed, tmp_path / "profile", "--dump-dom", f"--window-size={width},2000")
    (found,) = re.findall(r'<pre id="probe">(.*?)</pre>', shown.stdout)
    measured = json.loads(found.replace("&amp;", "&"))
    assert measured["title"].startswith("Promoted")
    assert measured["requests"] == []
    assert measured["scroll"] <= 0
    assert len(measured["figures"]) == 12
    for wide, high, drawn_wide, drawn_high, parts in measured["figures"]:
        assert min(wide, high, drawn_wide, drawn_high) > 50
        assert parts > 3
    assert measured["unresolved"] == 0


@needs_chromium
def test_the_policy_stops_what_would_slip_in(make_facts: Callable[..., Facts], tmp_path: Path) -> None:
    """The console tells, so that an empty one in the test above means something."""
    page = write_report(tmp_path, make_facts()).page
    slipped = '<script>document.title = "taken"</script><img src="http://example.invalid/x.png"></body>'
    page.write_text(page.read_text().replace("</body>", slipped))
    assert page.name == REPORT_PAGE
    seen = browse(page, tmp_path / "profile", "--dump-dom")
    assert len(console(seen.stderr)) >= 2
    assert "<title>taken" not in seen.stdout


LUMINANCE = """(() => {
  const channels = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const luminance = colour => channels(colour).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = colour => {
    const own = luminance(colour);
    return (Math.max(own, page) + 0.05) / (Math.min(own, page) + 0.05);
  };
  const shown = [...document.querySelectorAll("h1, h2, p, th, td, li, a, summary, dt, code")].filter(
    part => part.checkVisibility() && !part.matches(".skip"));
  return {
    page,
    texts: Math.min(...shown.map(part => contrast(getComputedStyle(part).color))),
    figures: Math.min(...[...document.querySelectorAll("svg text")].map(part => contrast(getComputedStyle(part).fill))),
  };
})()"""
"""Of the page, and the least contrast of texts with it (WCAG 2.2, 1.4.3)."""


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_in_light_and_in_the_dark(
    make_facts: Callable[..., Facts], tmp_path: Path, scheme: str
) -> None:
    page = write_report(tmp_path, make_facts()).page
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page)
        chromium.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        seen = chromium.value(LUMINANCE)
    assert seen["page"] < 0.05 if scheme == "dark" else seen["page"] > 0.9
    assert seen["texts"] >= 4.5
    assert seen["figures"] >= 4.5


@needs_chromium
def test_the_keyboard_reaches_everything_in_the_order_of_the_page(
    make_facts: Callable[..., Facts], tmp_path: Path
) -> None:
    page = write_report(tmp_path, make_facts()).page
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page)
        wanted = chromium.value(
            """[...document.querySelectorAll("a[href], summary, [tabindex='0']")]
              .filter(part => part.checkVisibility()).map((part, i) => { part.dataset.place = i; return i; })"""
        )
        assert len(wanted) > 30
        reached, outlines = [], set()
        for _ in wanted:
            chromium.press("Tab", 9)
            reached.append(int(chromium.value("document.activeElement.dataset.place ?? -1")))
            outlines.add(chromium.value("getComputedStyle(document.activeElement).outlineStyle"))
        assert reached == wanted
        assert outlines == {"solid"}, "what has the focus can be seen"

        chromium.open(page)
        chromium.press("Tab", 9)
        assert chromium.value("document.activeElement.getBoundingClientRect().left >= 0")
        chromium.press("Enter", 13)
        assert chromium.value("document.activeElement.id") == "verdict"


PRINTED = """(() => {
  const closed = [...document.querySelectorAll("details:not([open])")];
  const inner = closed.flatMap(part => [...part.children].filter(child => child.localName !== "summary"));
  return [closed.length, inner.filter(part => !part.checkVisibility({contentVisibilityAuto: true})).length,
    inner.filter(part => part.getBoundingClientRect().height < 5).length];
})()"""
"""Closed parts, and of what is in them the parts that are not shown, or without height."""


@needs_chromium
def test_paper_has_what_a_screen_unfolds(make_facts: Callable[..., Facts], tmp_path: Path) -> None:
    page = write_report(tmp_path, make_facts()).page
    with browser(tmp_path / "profile") as chromium:
        chromium.open(page)
        on_screen = chromium.value(PRINTED)
        assert on_screen[0] > 5
        assert on_screen[1] >= on_screen[0], "closed is closed on a screen"
        closed = base64.b64decode(chromium.ask("Page.printToPDF")["data"])
        chromium.ask("Emulation.setEmulatedMedia", media="print")
        assert chromium.value(PRINTED) == [on_screen[0], 0, 0]
        chromium.ask("Emulation.setEmulatedMedia", media="")
        chromium.value("document.querySelectorAll('details').forEach(part => part.open = true)")
        unfolded = base64.b64decode(chromium.ask("Page.printToPDF")["data"])
    assert closed.startswith(b"%PDF-")
    pages = [len(re.findall(rb"/Type /Page\b", pdf)) for pdf in (closed, unfolded)]
    assert pages[0] == pages[1] > 5
