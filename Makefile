# Two commands do everything: make run, make test. Both install what they need into .venv first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What make run trains on; each is a pipeline input of the same meaning. Without DATA it is the sample, or for a task that is
# named after a public data set, such as mrpc, that one.
DATA ?=
TASK ?= text-classification
SAMPLE := data/customer_messages
ifneq ($(DATA),)
  SOURCE := $(DATA)
  HUB := auto
else ifeq ($(TASK),text-classification)
  SOURCE := $(SAMPLE)
  HUB := auto
  TEXT ?= message
  LABEL ?= intent
else
  SOURCE := $(TASK)
  HUB := benchmark
endif
TEXT ?= auto
TEXT_PAIR ?= auto
LABEL ?= auto
LABELS ?= as-is
REPAIR ?= none
SLICES ?= none
GROUP ?= none
# What it takes to be promoted, by the kind of labels that the task has.
GATES := endpoints/text-classifier/gate
GATE ?= $(GATES)$(if $(filter multi-label-%,$(TASK)),-multi-label)$(if $(filter %-regression stsb,$(TASK)),-regression)$(if \
  $(filter token-%,$(TASK)),-tokens)$(if $(filter question-%,$(TASK)),-answers).yml
CHECKPOINT ?= sentence-transformers/all-MiniLM-L6-v2
EPOCHS ?= 3
# Model and endpoint are named after the data unless you name them: 3 to 32 letters, digits and hyphens.
NAME ?= $(shell basename '$(SOURCE)' | sed -E 's/[.](csv|tsv|jsonl|parquet)([.]gz)?$$//; s/[^A-Za-z0-9]+/-/g; s/^-+//' \
  | sed -E '/^[A-Za-z].{2}/!s/^/data-/; s/^(.{32}).*/\1/; s/-+$$//')
PIPELINE ?= pipelines/finetune.yml
# More overrides of the pipeline file, such as SET="jobs.sweep.limits.max_total_trials=8".
SET ?=
# Where amlocal keeps jobs, models and endpoints.
export AMLOCAL_HOME ?= .amlocal
# What the pipelines take of these: paths are made whole, as the job's file lies elsewhere.
WHOLE_PATHS = whole() { $(BIN)/python -c 'import os, sys; print(os.path.abspath(sys.argv[1]))' "$$1"; }; \
	checkpoint='$(CHECKPOINT)'; \
	if [ -f "$$checkpoint/config.json" ]; then checkpoint=$$(whole "$$checkpoint"); fi
FOLDER_OF_DATA = $(if $(filter benchmark,$(HUB)),$(SAMPLE),$(SOURCE))
COLUMNS = "inputs.task=$(TASK)" "inputs.text_column=$(TEXT)" "inputs.text_pair_column=$(TEXT_PAIR)" \
	  "inputs.label_column=$(LABEL)" "inputs.label_mapping=$(LABELS)"
CUTS = "inputs.repair=$(REPAIR)" "inputs.slice_columns=$(SLICES)" "inputs.group_column=$(GROUP)"
JOB := finetune-$(shell date -u +%Y%m%d-%H%M%S)
# What make skus writes, and make compare-skus runs: docs/skus.md.
SKUS ?= pipelines/skus/local.yml
SKUS_PIPELINE ?= pipelines/compare_skus.yml
MAX_STEPS ?= 50
PRICES ?=
MAX_MINUTES ?=
AUTOML_JOB := automl-$(shell date -u +%Y%m%d-%H%M%S)
COMPARISON := compare-skus-$(shell date -u +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help setup run run-compressed automl skus compare-skus stop test acceptance bench-engine bench-train bench-quality bench-sweep bench-router bench-serve \
  fuzz soak chaos data-checks public-jobs mutants lint format validate sample clean

help: ## Show this help
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' \
	  | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'
	@echo
	@echo '  make run takes DATA= TASK= TEXT= TEXT_PAIR= LABEL= LABELS= REPAIR= SLICES= GROUP= CHECKPOINT= EPOCHS= GATE= NAME= SET=; see the README.'

setup: $(VENV)/.installed ## Create .venv and install the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "error: Python 3.11 is needed, found " + sys.version.split()[0] + "; try make PYTHON=/path/to/python3.11")'
	@echo 'Installing into $(VENV): a few minutes, once.'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[dev]'
	@touch $@

run-compressed: PIPELINE = pipelines/finetune_compressed.yml
run-compressed: run ## The same with the model compressed before it is evaluated

run: setup ## Run pipelines/finetune.yml here: data to live endpoint
	@printf '%s' '$(NAME)' | grep -Eqx '[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]' || { echo \
	  "error: NAME='$(NAME)': expected 3 to 32 letters, digits and hyphens, beginning with a letter, to name model and endpoint"; exit 1; }
	@$(WHOLE_PATHS); \
	$(BIN)/amlocal job create --file $(PIPELINE) --name $(JOB) --set \
	  "inputs.data.path=$$(whole '$(FOLDER_OF_DATA)')" "inputs.hub_dataset=$(HUB)" $(COLUMNS) $(CUTS) \
	  "inputs.checkpoint=$$checkpoint" "inputs.gate_policy.path=$$(whole '$(GATE)')" "inputs.epochs=$(EPOCHS)" \
	  "inputs.model_name=$(NAME)" "inputs.endpoint_name=$(NAME)" "inputs.commit=$(shell git rev-parse HEAD 2>/dev/null || echo unrecorded)" $(SET)
	@$(BIN)/amlocal exec -- $(BIN)/python -m finetune.summary --outputs $(AMLOCAL_HOME)/jobs/$(JOB)/outputs \
	  --key_command '$(BIN)/amlocal online-endpoint get-credentials --name $(NAME)'
	@echo
	@echo 'The endpoint stays up until: make stop'

automl: setup ## Run pipelines/automl_comparison.yml here: AutoML's model against the sweep's
	@$(WHOLE_PATHS); \
	$(BIN)/amlocal job create --file pipelines/automl_comparison.yml --name $(AUTOML_JOB) --set \
	  "inputs.data.path=$$(whole '$(FOLDER_OF_DATA)')" $(COLUMNS) \
	  $(CUTS) "inputs.checkpoint=$$checkpoint" "inputs.epochs=$(EPOCHS)" "inputs.model_name=$(NAME)" \
	  "inputs.endpoint_name=$(NAME)" "inputs.commit=$(shell git rev-parse HEAD 2>/dev/null || echo unrecorded)" $(SET)
	@cat $(AMLOCAL_HOME)/jobs/$(AUTOML_JOB)/outputs/selection/candidates.md

skus: setup ## Write the pipeline that compares the computes listed in SKUS
	$(BIN)/python -m finetune.skus.pipeline --list '$(SKUS)' --pipeline '$(SKUS_PIPELINE)'

compare-skus: setup ## Train on each compute of the list, one at a time, and compare
	@$(WHOLE_PATHS); \
	if [ -n '$(PRICES)' ]; then \
	  set -- jobs.compare.inputs.prices.type=uri_file "jobs.compare.inputs.prices.path=$$(whole '$(PRICES)')"; fi; \
	if [ -n '$(MAX_MINUTES)' ]; then set -- "$$@" 'jobs.compare.inputs.max_minutes=$(MAX_MINUTES)'; fi; \
	$(BIN)/amlocal job create --file '$(SKUS_PIPELINE)' --name $(COMPARISON) --concurrent-steps 1 --set \
	  "inputs.data.path=$$(whole '$(FOLDER_OF_DATA)')" $(COLUMNS) \
	  "inputs.checkpoint=$$checkpoint" "inputs.max_steps=$(MAX_STEPS)" "$$@" $(SET)
	@cat $(AMLOCAL_HOME)/jobs/$(COMPARISON)/outputs/comparison/comparison.md
	@echo 'Page: $(AMLOCAL_HOME)/jobs/$(COMPARISON)/outputs/comparison/comparison.html'

stop: ## Stop the local workspace and its endpoints
	@if [ -x $(BIN)/amlocal ]; then $(BIN)/amlocal workspace stop; else echo 'Nothing is installed, nothing runs.'; fi

# Files of tests at once. More than the cores are worth it: tests wait for processes longer than they compute.
TEST_WORKERS ?= 3
test: setup ## Run all tests
	$(BIN)/pytest --numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

REAL_DATA ?= ../shared/data
acceptance: setup ## Run on real data in REAL_DATA; the figures of docs/results.md
	$(BIN)/python benchmarks/acceptance.py --data $(REAL_DATA)

data-checks: setup ## Check the data in REAL_DATA; hold the findings against what is known
	$(BIN)/python benchmarks/data_checks.py --data $(REAL_DATA)

public-jobs: setup ## Read all job files in FOLDER; hold each against azure-ai-ml
	$(BIN)/python benchmarks/public_jobs.py $(FOLDER)

KFP ?= build/kfp
bench-engine: setup ## Measure amlocal's own cost, beside Kubeflow Pipelines' local runner
	$(BIN)/python benchmarks/engine.py --kfp-environment $(KFP)

BENCH_SERVE ?= build/bench-serve
bench-serve: setup ## Measure serving against the seed recipe on MRPC of REAL_DATA
	$(BIN)/python benchmarks/serve.py --data $(REAL_DATA)/mrpc --folder $(BENCH_SERVE)

FUZZ ?= build/fuzz
fuzz: setup ## Send score.py 12,000 request bodies, good and bad, and watch its processes
	$(BIN)/python benchmarks/fuzz.py --folder $(FUZZ)

bench-router: setup ## Measure what the endpoints' router adds to a request
	$(BIN)/python benchmarks/router.py

soak: setup ## Roll out 32 models, good and bad, under a constant load
	$(BIN)/python benchmarks/soak.py --rollouts 32 --plot docs/images/soak.png

bench-train: setup ## Measure training against the seed recipe on REAL_DATA
	$(BIN)/python benchmarks/train.py --data $(REAL_DATA)

FIGURES ?= build
bench-quality: setup ## Hold the recipe's test accuracy and F1 to the seed recipe's; goes on from FIGURES
	$(BIN)/python benchmarks/quality.py --data $(REAL_DATA) --figures $(FIGURES)/quality.jsonl

bench-sweep: setup ## Measure a sweep end to end against the seeds' way; goes on from FIGURES
	$(BIN)/python benchmarks/sweep.py --data $(REAL_DATA) --figures $(FIGURES)/sweep.jsonl

chaos: setup ## Kill amlocal and its steps at a hundred random points; fail every request of a rollout
	AMLOCAL_CHAOS_ROUNDS=100 $(BIN)/pytest --timeout 3600 tests/amlocal/run/test_chaos.py
	ROLLOUT_EVERY_REQUEST=1 $(BIN)/pytest --timeout 3600 tests/components/deploy/test_every_request.py

mutants: setup ## Plant bugs into gate and rollout and see that the tests notice each
	$(BIN)/python benchmarks/mutants.py

lint: setup ## Check style, types, YAML and workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/amlocal lint --strict --exclude tests
	$(BIN)/zizmor --offline --no-progress --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/python .github/scripts/shellcheck_blocks.py
	$(BIN)/python .github/scripts/actionlint.py

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

validate: setup ## Check the pipelines with the Azure ML client's own validation
	@for file in pipelines/*.yml; do $(BIN)/amlocal job validate --file $$file || exit 1; done

sample: setup ## Make the sample data anew
	$(BIN)/python data/make_sample.py --folder data/customer_messages

clean: stop ## Stop everything and remove what runs left behind
	rm -rf $(AMLOCAL_HOME)
