# ruff: noqa: E501 - a planted bug reads best on one line
"""Plant bugs into gate and rollout, one at a time, and see that the tests notice each.

A gate is only as good as what would be noticed if it were wrong. Each mutant is a fault that gates are known to have,
made in a copy of the sources; the tests that guard it have to fail there. Exits with 1 when one survives.

Example:
    python benchmarks/mutants.py            # make mutants
    python benchmarks/mutants.py --only nan
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
COPIED = ("src", "components", "endpoints", "tests/finetune", "tests/components", "tests/amlocal")
COPIED_FILES = ("pyproject.toml", "tests/*.py")
GATE, POLICY, VERDICT = "src/finetune/gate.py", "src/finetune/policy.py", "src/finetune/verdict.py"
COMPARISON, ANSWERS = "src/finetune/comparison.py", "src/finetune/answers/test_rows.py"
SLICES, SINGLE_LABEL, MULTI_LABEL, REGRESSION, TOKEN_LABELS, SPANS = (
    f"src/finetune/answers/{name}.py"
    for name in ("slices", "single_label", "multi_label", "regression", "token_labels", "answer_spans")
)
MEASUREMENT, EVIDENCE = "src/finetune/measurement.py", "src/finetune/evidence.py"
EVALUATION = "src/finetune/evaluation.py"
VERSIONS = "src/amlocal/workspace/versions.py"
DEPLOY = "components/deploy/deploy.py"
COPIES, FINDINGS = "src/finetune/data/checks/copies.py", "src/finetune/data/checks/findings.py"
RESAMPLED = "src/finetune/metrics/resampled.py"
CHECKS, METRICS = "src/finetune/data/checks/splits.py", "src/finetune/metrics/classification.py"
REGISTER = "components/register/register.py"
TARGET, PLAN, HEALTH = "components/deploy/target.py", "components/deploy/plan.py", "components/deploy/health.py"
OPENING, ROLLOUT, SMOKE, GOLDEN = (f"components/deploy/{name}.py" for name in ("opening", "rollout", "smoke", "golden"))
ROLLOUT_TESTS = "tests/components/deploy/test_rollout.py tests/components/deploy/test_lock.py"
GUARDS = {
    GATE: "tests/finetune/test_gate.py",
    POLICY: "tests/finetune/test_policy.py",
    VERDICT: "tests/finetune/test_verdict.py",
    COMPARISON: "tests/finetune/test_comparison.py tests/finetune/answers/test_kinds.py",
    ANSWERS: "tests/finetune/answers/test_test_rows.py",
    SLICES: "tests/finetune/answers/test_slices.py tests/finetune/answers/test_test_rows.py",
    SINGLE_LABEL: "tests/finetune/answers tests/components/test_register.py",
    MULTI_LABEL: "tests/finetune/answers/test_kinds.py",
    REGRESSION: "tests/finetune/answers/test_kinds.py",
    TOKEN_LABELS: "tests/finetune/answers/test_kinds.py",
    SPANS: "tests/finetune/answers/test_kinds.py",
    MEASUREMENT: "tests/components/test_evaluate.py tests/components/test_register.py tests/components/test_problems.py",
    EVALUATION: "tests/components/test_problems.py",
    COPIES: "tests/finetune/data/checks tests/finetune/data/test_splits.py",
    FINDINGS: "tests/finetune/data/checks",
    CHECKS: "tests/finetune/data/checks",
    METRICS: "tests/finetune/metrics",
    RESAMPLED: "tests/finetune/metrics",
    REGISTER: "tests/components/test_register.py",
    EVIDENCE: "tests/components/deploy/test_deploy.py tests/components/test_register.py",
    VERSIONS: "tests/amlocal/workspace/test_registry.py",
    DEPLOY: "tests/components/deploy/test_deploy.py",
    TARGET: "tests/components/deploy/test_target.py",
    PLAN: ROLLOUT_TESTS,
    OPENING: ROLLOUT_TESTS,
    HEALTH: "tests/components/deploy/test_health.py",
    SMOKE: "tests/components/deploy/test_smoke.py",
    GOLDEN: "tests/components/deploy/test_golden.py",
    ROLLOUT: f"{ROLLOUT_TESTS} tests/components/deploy/test_every_call.py",
}


@dataclass(frozen=True)
class Mutant:
    """One planted bug: in a file, a text that occurs once is replaced by another."""

    name: str
    file: str
    right: str
    wrong: str


MUTANTS = (
    Mutant("challenger and champion swapped", GATE, "new_figure - old_figure, abs", "old_figure - new_figure, abs"),
    Mutant("a difference need not be that of the figures", GATE, "abs_tol=1e-9", "abs_tol=1e-2"),
    Mutant("the champion's limits are checked", GATE, "_limit_checks(challenger, policy),", "_limit_checks(champion.evidence if isinstance(champion, Champion) else challenger, policy),"),
    Mutant("minimum the wrong way round", GATE, "value >= bound, f", "value <= bound, f"),
    Mutant("minimum not inclusive", GATE, "value >= bound, f", "value > bound, f"),
    Mutant("maximum the wrong way round", GATE, "value <= bound, f", "value >= bound, f"),
    Mutant("any check is enough", GATE, "bool(self.checks) and all(", "bool(self.checks) and any("),
    Mutant("no checks are a pass", GATE, "bool(self.checks) and all(", "all("),
    Mutant("the flag is overwritten", VERDICT, '"promoted": verdict.promoted', '"promoted": True'),
    Mutant("NaN counts as a number", GATE, "isinstance(value, int | float) and math.isfinite(value)", "isinstance(value, int | float)"),
    Mutant("true counts as a number", GATE, "not isinstance(value, bool) and isinstance", "isinstance"),
    Mutant("a missing metric is 0", GATE, "value = evidence.metrics.get(metric)", "value = evidence.metrics.get(metric, 0.0)"),
    Mutant("a missing metric is skipped", GATE, 'return Check(f"has {metric}", False,', 'return Check(f"has {metric}", True,'),
    Mutant("a champion that does not load is no champion", GATE, 'Check("champion", False, f"the champion', 'Check("champion", True, f"the champion'),
    Mutant("other test rows are fine", GATE, "challenger.test_sha256 != old.test_sha256", "False"),
    Mutant("the serving model beats itself", GATE, "challenger.model_sha256 == old.model_sha256", "False"),
    Mutant("noise is an improvement", GATE, "large_enough and difference.low > 0 and", "large_enough and"),
    Mutant("the upper end is compared", GATE, "large_enough and difference.low > 0 and", "large_enough and difference.high > 0 and"),
    Mutant("any gain is an improvement", GATE, "round(difference.value, 9) >= policy.minimum_improvement", "difference.value > 0"),
    Mutant("the margin is subtracted twice", GATE, "difference.low >= -policy.margin", "difference.low >= -2 * policy.margin"),
    Mutant("a NaN interval passes", GATE, "if not all(_is_finite(figure) for figure in figures)", "if False"),
    Mutant("another metric's interval passes", GATE, "difference.metric != metric", "False"),
    Mutant("a slice is forgotten", GATE, "checks.extend(_slice_checks(champion.slices, rows, policy, slice_metric))", "pass"),
    Mutant("the last slice is forgotten", GATE, "for name, part in slices.items() if part.rows >=", "for name, part in list(slices.items())[:-1] if part.rows >="),
    Mutant("a required slice that is missing passes", GATE, "if not found >= policy.slice_minimum_rows:", "if 0 < found < policy.slice_minimum_rows:"),
    Mutant("a required slice is required of champions alone", GATE, "rows, policy), *_part_checks(rows, policy)]", "rows, policy), *(() if isinstance(champion, NoChampion) else _part_checks(rows, policy))]"),
    Mutant("a slice's rows that are no number are enough", GATE, "if not found >= policy.slice_minimum_rows:", "if found < policy.slice_minimum_rows:"),
    Mutant("an empty slice vanishes", GATE, "if emptied and rows.rows:", "if False:"),
    Mutant("an empty slice is fine", GATE, 'policy.empty_slices == "accept", reason', "True, reason"),
    Mutant("a slice that was not compared goes unnoticed", GATE, "if compared != measured.get(name, 0):", "if False:"),
    Mutant("a slice that lost its rows is not counted", SLICES, "return emptied | {", "return {"),
    Mutant("slices are counted over the whole split", SLICES, "slices(split[measured], manifest)", "slices(split, manifest)"),
    Mutant("a slice that cannot be right passes", GATE, "if (wrong := _unsound(part, policy, metric))", "if (wrong := None)"),
    Mutant("test rows seen in train are fine", GATE, "if rows.seen_in_train == 0:", "if True:"),
    Mutant("no test rows are fine", GATE, "if not rows.rows >= 1:", "if False:"),
    Mutant("a number of test rows that is none is enough", GATE, "if not rows.rows >= 1:", "if rows.rows < 1:"),
    Mutant("without a champion anything goes", GATE, 'if policy.without_champion == "promote":', "if True:"),
    Mutant("a policy of no limits is read", POLICY, "if not {*policy.minimum, *policy.maximum} - {*COST_METRICS}:", "if False:"),
    Mutant("a limit of cost alone is enough", POLICY, " - {*COST_METRICS}:", ":"),
    Mutant("an unknown metric is read", POLICY, "if metric not in known_metrics:", "if False:"),
    Mutant("a loss is a primary metric", POLICY, "if policy.primary_metric in lower_is_better:", "if False:"),
    Mutant("an unknown key is ignored", POLICY, "if missing or unknown:", "if missing:"),
    Mutant("a verdict for another model", VERDICT, "if written.get(name) != expected:", "if False:"),
    Mutant("a kept verdict for another model", VERDICT, 'about = {"model_sha256": model_sha256, "test_sha256": written.get("test_sha256")}', 'about = {"model_sha256": written.get("model_sha256"), "test_sha256": written.get("test_sha256")}'),
    Mutant("the code's digest is of its files' names", VERDICT, "\\0{file_sha256(path)}\\n", "\\n"),
    Mutant("an edited verdict", VERDICT, "if found != answer:", "if False:"),
    Mutant("an expired verdict", VERDICT, "if now > end:", "if False:"),
    Mutant("a verdict that extends itself", VERDICT, "if differing or written.keys() != expected.keys():", "if False:"),
    Mutant("a verdict of the future", VERDICT, "> now + timedelta(minutes=5):", "> now + timedelta(days=9999):"),
    Mutant("a p-value is for show", GATE, " and champion.p_value <= level", ""),
    Mutant("any number of rows is compared", GATE, "if champion.difference.rows != rows.rows:", "if False:"),
    Mutant("no slices are fine", GATE, "    if not slices:", "    if False:"),
    Mutant("a champion that was overtaken", TARGET, "if target.purpose == PROMOTE and now not in", "if False and now not in"),
    Mutant("a longer life in the registration", TARGET, "if target.valid_until not in (None, tags.get(VALID_UNTIL_TAG)):", "if False:"),
    Mutant("a champion that was measured is hidden", VERDICT, "if (CHAMPION in measured) != usable or", "if"),
    Mutant("the models are resampled apart", COMPARISON, "_interval(metric, new - old, confidence)", "_interval(metric, old - new, confidence)"),
    Mutant("one end of the interval", COMPARISON, "[(1 - confidence) / 2, (1 + confidence) / 2]", "[1 - confidence, (1 + confidence) / 2]"),
    Mutant("draws without the metric count", COMPARISON, ">= 0.9 * RESAMPLES", ">= 0"),
    Mutant("McNemar counts all rows", COMPARISON, "stats.binomtest(gained, gained + lost)", "stats.binomtest(gained, len(new))"),
    Mutant("rows seen in train are measured", ANSWERS, "kept = frame[~seen]", "kept = frame[seen | ~seen]"),
    Mutant("marks of seen rows are believed", ANSWERS, "if counts != expected_counts:", "if False:"),
    Mutant("copies but for case go unnoticed", COPIES, ".casefold()", ""),
    Mutant("an AUC without all labels", METRICS, 'if len(np.unique(true)) < len(labels):\n            return float("nan")', "if len(np.unique(true)) < len(labels):\n            return 1.0"),
    Mutant("the champion is measured as challenger", MEASUREMENT, "Answers(kind, new, old)", "Answers(kind, old, new)"),
    Mutant("values to slice by are believed", ANSWERS, "if annotations_sha256(frame) != manifest.annotations_sha256:", "if False:"),
    Mutant("rare values of a column are forgotten", SLICES, "if len(ordered) > MOST_SLICE_VALUES:", "if False:"),
    Mutant("a data check that fails passes", FINDINGS, 'if action == "fail":', "if False:"),
    Mutant("what is dropped stays", FINDINGS, 'if finding is not None and finding.action == "drop":', "if False:"),
    Mutant("exact copies go unnoticed", COPIES, "exact = np.asarray(split.exact.isin(train.exact))", "exact = np.zeros(len(split.exact), dtype=bool)"),
    Mutant("conflicting labels go unnoticed", COPIES, "several.index[several > 1]", "several.index[several > 2]"),
    Mutant("leaking rows are dropped from test", CHECKS, "finding = judge(problem, split, left[split], policy)", "left[split], finding = settle(problem, split, left[split], policy)"),
    Mutant("what leaks stays in train", CHECKS, "gone |= mask", "pass"),
    Mutant("a label that nobody measured passes", GATE, "if rows.labels_without_rows:", "if False:"),
    Mutant("an endpoint that was not asked serves nothing", GATE, "if found.endpoint is None:", "if found.endpoint is not None:"),
    Mutant("a label that lost its rows goes unnoticed", ANSWERS, ".unmeasured(kept, manifest)", ".unmeasured(frame, manifest)"),
    Mutant("figures that do not follow from the answers", MEASUREMENT, "rel_tol=_TOLERANCE, abs_tol=_TOLERANCE", "abs_tol=9.0"),
    Mutant("a figure that was taken out", MEASUREMENT, "sorted({*found, *expected})", "sorted({*found} & {*expected})"),
    Mutant("answers to other rows", MEASUREMENT, " or not answered[columns].equals(asked.reset_index(drop=True))", ""),
    Mutant("answers that are not the most probable", SINGLE_LABEL, "if not (best == frame[model].to_numpy()).all():", "if False:"),
    Mutant("probabilities that are none", SINGLE_LABEL, "or not np.allclose(sums, 1, atol=_TOLERANCE)", ""),
    Mutant("half of F1", RESAMPLED, "f1 = 2 * right", "f1 = right"),
    Mutant("an area without all labels", RESAMPLED, "np.where(pairs, areas, np.nan)", "np.where(pairs, areas, 1.0)"),
    Mutant("figures are believed", REGISTER, "    check_measured(evaluation, Path(arguments.dataset), manifest, model, policy)\n", ""),
    Mutant("a rejected model is registered", REGISTER, 'if not verdict["promoted"]:', "if False:"),
    Mutant("the verdict is not worked out again", REGISTER, "verdict = verify_verdict(evaluation, digest, test_sha256, policy, policy_path, datetime.now(UTC))", 'verdict = read_json(evaluation / VERDICT_FILE, "the verdict")'),
    Mutant("reports are not the verdict's", VERDICT, "if (evaluation / name).is_file()}\n", "if False}\n"),
    Mutant("a version without its verdict is promoted", DEPLOY, "        if target.purpose == PROMOTE:", "        if False:"),
    Mutant("a version to go back to needs its evidence", DEPLOY, "        if target.purpose == PROMOTE:", "        if True:"),
    Mutant("another verdict than the tag's", EVIDENCE, '!= tags.get(VERDICT_DIGEST_TAG):', "is None:"),
    Mutant("tags that say another thing than the verdict", EVIDENCE, "if tags.get(tag) != value:", "if False:"),
    Mutant("a model's evidence is part of it", EVIDENCE, "return folder_sha256(folder, without=EVIDENCE_FOLDER)", "return folder_sha256(folder)"),
    Mutant("the kept verdict is believed", EVIDENCE, 'verify_kept_verdict(evidence, model_sha256(folder), policy, evidence / POLICY_FILE, now)', '__import__("json").loads((evidence / VERDICT_FILE).read_text())'),
    Mutant("9 is a later version than 10", VERSIONS, "max((int(version.name) for version in used if version.name.isdecimal()), default=0)", 'int(max((version.name for version in used if version.name.isdecimal()), default="0"))'),
    Mutant("champions are compared by order", TARGET, "now not in (target.champion, str(target.model))", 'str(now) > str(target.champion) and now != str(target.model)'),
    Mutant("latest is a version", TARGET, "if not target.model.version.isdecimal():", "if False:"),
    Mutant("any registered model is deployed", TARGET, "if tags.get(VERDICT_TAG) != PROMOTED:", "if False:"),
    Mutant("any content is deployed", TARGET, "if len(set(digests.values())) != 1:", "if False:"),
    Mutant("an old registration is deployed", TARGET, "        check_valid(Path(registration), found.valid_until, now)\n", ""),
    Mutant("a named version is promoted without a verdict", TARGET, "if purpose == PROMOTE and approved is None:", "if False:"),
    Mutant("a named version's verdict has no age", TARGET, '    check_valid(f"{target.model}: tag {VALID_UNTIL_TAG}", tags.get(VALID_UNTIL_TAG), now)\n', ""),
    Mutant("a version to go back to needs no verdict", TARGET, "if not tags.get(VERDICT_DIGEST_TAG):", "if False:"),
    Mutant("another rollout's lock is none", OPENING, "if lock is None or owner_is_gone or now >= lock.until:", "if True:"),
    Mutant("a lock never ends", OPENING, "if lock is None or owner_is_gone or now >= lock.until:", "if lock is None or owner_is_gone:"),
    Mutant("a lock is not read back", ROLLOUT, "if found is None or not has_lock(found, self._owner):", "if False:"),
    Mutant("what another took over is undone", ROLLOUT, "if live is not None and live.lock is not None and not has_lock(live, self._owner):", "if False:"),
    Mutant("a failed incumbent is one", OPENING, "    if not live.healthy(name):", "    if False:"),
    Mutant("an incumbent that dies goes unnoticed", PLAN, "if record.incumbent is not None and not live.healthy(record.incumbent):", "if False:"),
    Mutant("an endpoint that failed is used", OPENING, "if live.provisioning_state != SUCCEEDED and unfinished is None:", "if False:"),
    Mutant("traffic changed by hand goes unnoticed", PLAN, "if expected is not None and not _is(", "if False and not _is("),
    Mutant("no smoke test", PLAN, "return Stage(SMOKE, baseline, {}, 0), *(", "return Stage(HOLD, baseline, {}, 0), *("),
    Mutant("no mirroring", PLAN, "*([mirror] if policy.mirror_percent else [])", "*()"),
    Mutant("no canaries", PLAN, "for share in policy.canary_percents", "for share in policy.canary_percents[-1:]"),
    Mutant("the traffic is not put back", PLAN, "if not _is(live, back.traffic, {}) and back not in skipped:", "if False:"),
    Mutant("the new colour is not removed", PLAN, "candidate.rollout == record.id and remove not in skipped", "False"),
    Mutant("a first rollout's endpoint is not removed", PLAN, "if record.made_endpoint and not live.deployments and", "if False and"),
    Mutant("every idle deployment is ours", OPENING, "and (deployment.name in COLOURS or deployment.rollout is not None)", "and True"),
    Mutant("an unfinished rollout's traffic is believed", OPENING, "if live.healthy(unfinished.incumbent):", "if False:"),
    Mutant("a check that fails is passed", ROLLOUT, "        if failed:\n", "        if False:\n"),
    Mutant("an interrupt is not undone", ROLLOUT, "        except BaseException as error:", "        except Exception as error:"),
    Mutant("the way back ends at its first failure", ROLLOUT, "ATTEMPTS = 3", "ATTEMPTS = 1"),
    Mutant("errors are fine", HEALTH, "rate <= limit, reason, rate", "True, reason, rate"),
    Mutant("slow is fine", HEALTH, "candidate <= limit, reason, candidate", "True, reason, candidate"),
    Mutant("slower than the incumbent is fine", HEALTH, "        if against < limit:", "        if False:"),
    Mutant("other answers are fine", HEALTH, "few or share >= limit", "True"),
    Mutant("tracebacks are fine", HEALTH, "passed = gained <= policy.maximum_tracebacks", "passed = True"),
    Mutant("another label than the model's own", SMOKE, "if _is_number(expected) else found == expected", "if _is_number(expected) else True"),
    Mutant("other probabilities than the model's own", SMOKE, "rel_tol=TOLERANCE, abs_tol=TOLERANCE", "rel_tol=1, abs_tol=1"),
    Mutant("golden labels are not compared", GOLDEN, "if label not in right:", "if False:"),
    Mutant("golden latency is not compared", GOLDEN, "if milliseconds > golden.latency_ms:", "if False:"),
    Mutant("golden schema is not compared", GOLDEN, "if error is not None:", "if False:"),
    Mutant("no golden request is enough", GOLDEN, "    if not found:", "    if False:"),
    Mutant("a registration of another verdict is deployed", TARGET, "target.verdict_sha256 not in (None, tags.get(VERDICT_DIGEST_TAG))", "False"),
    Mutant("the difference is turned around", COMPARISON, "return new - old", "return old - new"),
    Mutant("an unknown loss in a metric of any size is small", COMPARISON, "_UNBOUNDED_RANGE if metric in UNBOUNDED else _WHOLE_RANGE", "_WHOLE_RANGE"),
    Mutant("rows drawn twice count once", COMPARISON, "np.bincount(rows, minlength=len(scored)).astype(np.float64)", "(np.bincount(rows, minlength=len(scored)) > 0).astype(np.float64)"),
    Mutant("labels that are not those of the probabilities", MULTI_LABEL, 'if list(frame[model]) != list(columns_of(probabilities, labels)[""]):', "if False:"),
    Mutant("labels that a model says and does not mean", MULTI_LABEL, "if names_text(said) != names:", "if False:"),
    Mutant("a larger error is a gain", REGRESSION, '(1 if name == "mae" else -1)', "1"),
    Mutant("answers that are no finite numbers", REGRESSION, "    if not np.isfinite(values).all():", "    if False:"),
    Mutant("tags that are not one for each word", TOKEN_LABELS, "if len(tags) != len(asked):", "if False:"),
    Mutant("tags of another data set", TOKEN_LABELS, "if unknown is not None:", "if False:"),
    Mutant("an answer that does not stand in the context", SPANS, "or answer not in context:", "or False:"),
    Mutant("an answer from another place", SPANS, "if text != context[start:end]:", "if False:"),
    Mutant("a model for another problem", EVALUATION, "_UNNAMED_PROBLEM)) != problem:", "_UNNAMED_PROBLEM)) != problem and False:"),
    Mutant("a champion without the figure is compared", MEASUREMENT, "or not math.isfinite(kind.metric(metric, scored)):", "or False:"),
    Mutant("a margin that accepts any loss", POLICY, "if policy.margin >= 1 or (", "if False and ("),
)  # fmt: skip


NOTICED, SURVIVED, NOT_RUN = "noticed", "SURVIVED", "NOT RUN"


def try_out(mutant: Mutant, folder: Path) -> str:
    """Plant a bug and run the tests that guard it.

    Returns:
        NOTICED, SURVIVED, or NOT_RUN where the tests neither passed nor failed; their output has been shown.

    Raises:
        SystemExit: the text to replace is not there exactly once.
    """
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.right) != 1:
        sys.exit(
            f"error: {mutant.name}: {mutant.file} holds {mutant.right!r} {text.count(mutant.right)} times, not once"
        )
    path.write_text(text.replace(mutant.right, mutant.wrong), encoding="utf-8")
    try:
        done = run_tests(folder, GUARDS[mutant.file])
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode in (0, 1):
        return NOTICED if done.returncode else SURVIVED
    print(f"{mutant.name}: the tests ended with {done.returncode}:\n{done.stdout}{done.stderr}", file=sys.stderr)
    return NOT_RUN


def run_tests(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy of the sources, up to the first failure."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests.split()],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )


def main() -> None:
    """Plant every bug."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutants whose name holds this text")
    chosen = [mutant for mutant in MUTANTS if parser.parse_args().only in mutant.name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (path for pattern in COPIED_FILES for path in ROOT.glob(pattern)):
            shutil.copy(path, folder / path.relative_to(ROOT))
        for tests in sorted({GUARDS[mutant.file] for mutant in chosen}):
            done = run_tests(folder, tests)
            if done.returncode != 0:
                sys.exit(f"error: without a planted bug, {tests} fails already:\n{done.stdout}")
        found = []
        for number, mutant in enumerate(chosen, start=1):
            found.append(try_out(mutant, folder))
            print(f"{number}/{len(chosen)} {found[-1]}: {mutant.name} ({mutant.file})", flush=True)
    noticed = found.count(NOTICED)
    print(f"{noticed} of {len(chosen)} planted bugs noticed")
    sys.exit(0 if chosen and noticed == len(chosen) else 1)


if __name__ == "__main__":
    main()
