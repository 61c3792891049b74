"""The comparison's files, and the page in a real browser."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import pytest

from finetune.report.costs import Prices
from finetune.skus import COMPARISON_BRIEF, COMPARISON_JSON, COMPARISON_PAGE, PARETO_FIGURE
from finetune.skus.compared import Comparison, compare_runs
from finetune.skus.hardware_use import HardwareUse
from finetune.skus.measured import Run
from finetune.skus.page import significant
from finetune.skus.recommendation import recommend
from finetune.skus.write import write_comparison

MakeRun = Callable[..., Run]
CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
NASTY = '<script>document.title = "taken"</script> \u202e | `x`'


@pytest.fixture
def make_comparison(make_run: MakeRun) -> Callable[..., Comparison]:
    """Return a maker: two computes that scale and one with GPUs, each twice, whose names of machines are nasty."""

    def made(priced: bool = True) -> Comparison:
        runs = [
            make_run(name, listed, repeat, samples_per_second=rate + repeat, **more)
            for repeat in range(2)
            for name, listed, rate, more in (
                ("one", {}, 20.0, {}),
                ("two", {"process_count_per_instance": 2}, 35.0, {"seconds": {"train": 100.0, "steps": 90.0}}),
                ("gpu", {"precision": "bf16"}, 900.0, {"hardware": {"gpus": [NASTY]}, **BF16}),
            )
        ]
        uses = [
            HardwareUse(9, 50.0, 3.0, *((88.0, 11.0, 300.0) if run.device == NASTY else (None,) * 3)) for run in runs
        ]
        prices = Prices("2026-01-31", NASTY, {"x86_64, 2 cores": 0.5, f"1 x {NASTY}": 1.5})
        return compare_runs(runs, uses, prices if priced else None)

    return made


BF16 = {
    "precision": {"name": "bf16", "reason": "as requested"},
    "seconds": {"start": 8.0, "load": 2.0, "train": 12.0, "steps": 10.0, "save": 1.0},
}


def write(folder: Path, comparison: Comparison) -> dict[str, str]:
    paths = write_comparison(folder, comparison, recommend(comparison, None))
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in paths)
    return {path.name: path.read_text() for path in paths}


def test_the_files_tell_the_same_story(make_comparison: Callable[..., Comparison], tmp_path: Path) -> None:
    files = write(tmp_path / "out", make_comparison())
    value = json.loads(files[COMPARISON_JSON])
    assert value["recommendation"]["compute"] == "gpu"
    assert [row["name"] for row in value["computes"]] == ["one", "two", "gpu"]
    assert value["computes"][1]["scaling"]["base"] == "one"
    assert len(value["runs"]) == 6
    assert (value["prices"]["date"], value["no_costs"]) == ("2026-01-31", [])
    assert value["work"]["task"] == "text-classification"
    cost = value["computes"][2]["cost"]["run"]["median"]
    assert cost == pytest.approx(1.5 * 23 / 3600)
    for name in (COMPARISON_PAGE, COMPARISON_BRIEF):
        assert significant(cost) in files[name]
        assert "2026-01-31" in files[name]
    assert files[COMPARISON_BRIEF].startswith("## Recommended: gpu\n")


def test_without_costs_there_is_no_cost_column_and_no_plot(
    make_comparison: Callable[..., Comparison], tmp_path: Path
) -> None:
    files = write(tmp_path / "out", make_comparison(priced=False))
    assert sorted(files) == sorted([COMPARISON_PAGE, COMPARISON_BRIEF, COMPARISON_JSON])
    assert "No cost column: no table of prices was given." in files[COMPARISON_PAGE]
    assert "No cost column: no table of prices was given." in files[COMPARISON_BRIEF]
    assert "an hour" not in files[COMPARISON_PAGE]
    assert "pareto" not in files[COMPARISON_PAGE]
    (table,) = re.findall(r"^\| compute .*$", files[COMPARISON_BRIEF], re.MULTILINE)
    assert table.endswith("| efficiency | cores in use |")
    assert json.loads(files[COMPARISON_JSON])["prices"] is None


def test_texts_that_nobody_has_vetted_do_nothing(make_comparison: Callable[..., Comparison], tmp_path: Path) -> None:
    files = write(tmp_path / "out", make_comparison())
    for name in (COMPARISON_PAGE, COMPARISON_BRIEF, PARETO_FIGURE):
        assert "<script" not in files[name], name
        assert "\u202e" not in files[name], name
    rows = [line for line in files[COMPARISON_BRIEF].splitlines() if line.startswith("| ")]
    assert len({line.count("|") for line in rows}) == 1


def test_the_plot_is_a_file_of_its_own_in_both_colour_schemes(
    make_comparison: Callable[..., Comparison], tmp_path: Path
) -> None:
    text = write(tmp_path / "out", make_comparison())[PARETO_FIGURE]
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314 - what was drawn above
    style = text[text.index("<style>") : text.index("</style>")]
    assert set(re.findall(r"var\((--[a-z]+)\)", text)) <= set(re.findall(r"(--[a-z]+):", style))
    assert "prefers-color-scheme: dark" in style
    assert style.count("{") == style.count("}")


def test_the_brief_can_be_read_as_it_is(make_run: MakeRun, tmp_path: Path) -> None:
    runs = [make_run("one_t4"), make_run("two_t4", samples_per_second=30.0, seconds={"train": 100.0})]
    text = write(tmp_path / "out", compare_runs(runs, [None, None], None))[COMPARISON_BRIEF]
    assert text.startswith(
        "## Recommended: two_t4\n\nThe fastest: 120.0 s a run. Costs are not known: no table of prices"
    )
    assert "| one_t4 | 1 | fp32 |" in text


def test_significant() -> None:
    assert [significant(value) for value in (0.0, 0.000123456, 0.05, 9.9996, 19.996, 1234.6, 3123456.0)] == [
        *("0", "0.0001235", "0.05000", "10.00", "20.00", "1,235", "3,123,000")
    ]


PROBE = """<script>addEventListener("load", () => {
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify({
    title: document.title,
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    scroll: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    figures: [...document.querySelectorAll("svg")].map(svg => {
      const box = svg.getBoundingClientRect(), drawn = svg.getBBox(), frame = svg.viewBox.baseVal;
      const outside = Math.max(-drawn.x, -drawn.y, drawn.x + drawn.width - frame.width,
        drawn.y + drawn.height - frame.height);
      return [box.width, box.height, drawn.width, drawn.height, outside];
    }),
  });
  document.body.append(probe);
});</script></body>"""


@pytest.mark.skipif(not CHROMIUM, reason="no chromium on PATH: the page is not seen in a browser")
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_as_a_browser_shows_it(make_comparison: Callable[..., Comparison], tmp_path: Path, width: int) -> None:
    write(tmp_path / "out", make_comparison())
    page = tmp_path / "out" / COMPARISON_PAGE

    def browse(opened: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
                *(f"--user-data-dir={tmp_path}/profile", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr"),
                *("--v=0", "--dump-dom", f"--window-size={width},2000", opened.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )

    assert re.findall(r"CONSOLE.*", browse(page).stderr) == []
    # The same page with a script in it, which its policy would not let run: to measure what is drawn.
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text())
    (tmp_path / "probed.html").write_text(html.replace("</body>", PROBE))
    (found,) = re.findall(r'<pre id="probe">(.*?)</pre>', browse(tmp_path / "probed.html").stdout)
    measured = json.loads(found.replace("&amp;", "&"))
    assert measured["title"] == "gpu: comparison of 3 computes"
    assert measured["requests"] == []
    assert measured["scroll"] <= 0
    assert len(measured["figures"]) == 3
    for wide, high, drawn_wide, drawn_high, outside in measured["figures"]:
        assert min(wide, high, drawn_wide, drawn_high) > 50
        # Names are drawn whole, in the browser's own font too.
        assert outside < 8
