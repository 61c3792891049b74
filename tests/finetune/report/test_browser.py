"""The page in a real browser, as a reader would have it."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.report import REPORT_PAGE
from finetune.report.facts import Facts
from finetune.report.write import write_report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
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
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-sync"),
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
    page, _ = write_report(tmp_path, make_facts())
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
    page, _ = write_report(tmp_path, make_facts())
    slipped = '<script>document.title = "taken"</script><img src="http://example.invalid/x.png"></body>'
    page.write_text(page.read_text().replace("</body>", slipped))
    assert page.name == REPORT_PAGE
    seen = browse(page, tmp_path / "profile", "--dump-dom")
    assert len(console(seen.stderr)) >= 2
    assert "<title>taken" not in seen.stdout
