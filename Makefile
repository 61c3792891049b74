# Two commands do everything: make run, make test. Both install what they need into .venv first.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

# What make run trains on; each is a pipeline input of the same meaning.
DATA ?= data/customer_messages
TASK ?= text-classification
TEXT ?= message
TEXT_PAIR ?= text_pair
LABEL ?= intent
LABELS ?= as-is
REPAIR ?= none
SLICES ?= none
GROUP ?= none
CHECKPOINT ?= sentence-transformers/all-MiniLM-L6-v2
EPOCHS ?= 3
# Model and endpoint are named after the data unless you name them: 3 to 32 letters, digits and hyphens.
NAME ?= $(shell basename '$(DATA)' | sed -E 's/[.](csv|tsv|jsonl|parquet)([.]gz)?$$//; s/[^A-Za-z0-9]+/-/g; s/^-+//' \
  | sed -E '/^[A-Za-z].{2}/!s/^/data-/; s/^(.{32}).*/\1/; s/-+$$//')
# More overrides of the pipeline file, such as SET="jobs.sweep.limits.max_total_trials=8".
SET ?=
# Where amlocal keeps jobs, models and endpoints.
export AMLOCAL_HOME ?= .amlocal
JOB := finetune-$(shell date -u +%Y%m%d-%H%M%S)
AUTOML_JOB := automl-$(shell date -u +%Y%m%d-%H%M%S)

.DEFAULT_GOAL := help
.PHONY: help setup run automl stop test acceptance bench-engine bench-train bench-router soak chaos data-checks public-jobs mutants lint format validate sample clean

help: ## Show this help
	@grep -hE '^[a-z][a-z-]*:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' \
	  | awk -F'\t' '{printf "  make %-11s %s\n", $$1, $$2}'
	@echo
	@echo '  make run takes DATA= TASK= TEXT= TEXT_PAIR= LABEL= LABELS= REPAIR= SLICES= GROUP= CHECKPOINT= EPOCHS= NAME= SET=; see the README.'

setup: $(VENV)/.installed ## Create .venv and install the pinned dependencies

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info[:2] == (3, 11) else "error: Python 3.11 is needed, found " + sys.version.split()[0] + "; try make PYTHON=/path/to/python3.11")'
	@echo 'Installing into $(VENV): a few minutes, once.'
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[dev]'
	@touch $@

run: setup ## Run pipelines/finetune.yml here: data to live endpoint
	@printf '%s' '$(NAME)' | grep -Eqx '[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]' || { echo \
	  "error: NAME='$(NAME)': expected 3 to 32 letters, digits and hyphens, beginning with a letter, to name model and endpoint"; exit 1; }
	@whole() { $(BIN)/python -c 'import os, sys; print(os.path.abspath(sys.argv[1]))' "$$1"; }; \
	checkpoint='$(CHECKPOINT)'; \
	if [ -f "$$checkpoint/config.json" ]; then checkpoint=$$(whole "$$checkpoint"); fi; \
	$(BIN)/amlocal job create --file pipelines/finetune.yml --name $(JOB) --set \
	  "inputs.data.path=$$(whole '$(DATA)')" "inputs.task=$(TASK)" "inputs.text_column=$(TEXT)" \
	  "inputs.text_pair_column=$(TEXT_PAIR)" "inputs.label_column=$(LABEL)" "inputs.label_mapping=$(LABELS)" \
	  "inputs.repair=$(REPAIR)" "inputs.slice_columns=$(SLICES)" "inputs.group_column=$(GROUP)" \
	  "inputs.checkpoint=$$checkpoint" "inputs.epochs=$(EPOCHS)" "inputs.model_name=$(NAME)" \
	  "inputs.endpoint_name=$(NAME)" "inputs.commit=$(shell git rev-parse HEAD 2>/dev/null || echo unrecorded)" $(SET)
	@$(BIN)/amlocal exec -- $(BIN)/python -m finetune.summary --outputs $(AMLOCAL_HOME)/jobs/$(JOB)/outputs \
	  --key_command '$(BIN)/amlocal online-endpoint get-credentials --name $(NAME)'
	@echo
	@echo 'The endpoint stays up until: make stop'

automl: setup ## Run pipelines/automl_comparison.yml here: AutoML's model against the sweep's
	@whole() { $(BIN)/python -c 'import os, sys; print(os.path.abspath(sys.argv[1]))' "$$1"; }; \
	checkpoint='$(CHECKPOINT)'; \
	if [ -f "$$checkpoint/config.json" ]; then checkpoint=$$(whole "$$checkpoint"); fi; \
	$(BIN)/amlocal job create --file pipelines/automl_comparison.yml --name $(AUTOML_JOB) --set \
	  "inputs.data.path=$$(whole '$(DATA)')" "inputs.task=$(TASK)" "inputs.text_column=$(TEXT)" \
	  "inputs.text_pair_column=$(TEXT_PAIR)" "inputs.label_column=$(LABEL)" "inputs.label_mapping=$(LABELS)" \
	  "inputs.repair=$(REPAIR)" "inputs.slice_columns=$(SLICES)" "inputs.group_column=$(GROUP)" \
	  "inputs.checkpoint=$$checkpoint" "inputs.epochs=$(EPOCHS)" "inputs.model_name=$(NAME)" \
	  "inputs.endpoint_name=$(NAME)" "inputs.commit=$(shell git rev-parse HEAD 2>/dev/null || echo unrecorded)" $(SET)
	@cat $(AMLOCAL_HOME)/jobs/$(AUTOML_JOB)/outputs/selection/candidates.md

stop: ## Stop the local workspace and its endpoints
	@if [ -x $(BIN)/amlocal ]; then $(BIN)/amlocal workspace stop; else echo 'Nothing is installed, nothing runs.'; fi

test: setup ## Run all tests
	$(BIN)/pytest

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

bench-router: setup ## Measure what the endpoints' router adds to a request
	$(BIN)/python benchmarks/router.py

soak: setup ## Roll out 32 models, good and bad, under a constant load
	$(BIN)/python benchmarks/soak.py --rollouts 32 --plot docs/images/soak.png

bench-train: setup ## Measure training against the seed recipe on REAL_DATA
	$(BIN)/python benchmarks/train.py --data $(REAL_DATA)

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

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

validate: setup ## Check the pipelines with the Azure ML client's own validation
	@for file in pipelines/*.yml; do $(BIN)/amlocal job validate --file $$file || exit 1; done

sample: setup ## Make the sample data anew
	$(BIN)/python data/make_sample.py --folder data/customer_messages

clean: stop ## Stop everything and remove what runs left behind
	rm -rf $(AMLOCAL_HOME)
