# Two commands: `make book` and `make test`. Both make the environment in .venv first, once.
# PYTHON=python3.12 make book    another interpreter          PROFILE=paper make book    another size
# make book FORCE=1              execute every chapter again  make serve PORT=9000       another port
# make test WORKERS=             one test after the other     make test ARGS=tests/test_store.py

PYTHON  ?= python3
PROFILE ?= laptop
PORT    ?= 8000
# One more than two cores have: tests that wait for a browser or a kernel leave theirs idle.
WORKERS ?= -n 3 --dist loadfile --no-loadscope-reorder
VENV    := .venv
PY      := $(VENV)/bin/python
STAMP   := $(VENV)/.complete
PEERS   := $(VENV)/.peers

.PHONY: help env peers book archive picture test soak serve bench clean distclean

help:
	@echo "make env     the environment in .venv, once; what else needs it makes it, too"
	@echo "make book    the HTML book, in _build/html (PROFILE=smoke|laptop|night|gpu|paper; FORCE=1: every chapter anew)"
	@echo "make archive the same, and packed into _build/pruning_lab-book.zip, which opens offline"
	@echo "make test    all tests but those that soak"
	@echo "make soak    the tests that take long"
	@echo "make serve   the built book on http://127.0.0.1:$(PORT)"
	@echo "make bench   speed against what a user would otherwise do"
	@echo "make picture the picture of README.md, from the published records"
	@echo "make clean   removes what was built; make distclean: the environment too"
	@echo "PYTHON=python3.12 make book   with another interpreter (after make distclean, where there is an environment)"

env: $(STAMP)

# The stamp is written last: an interrupted installation is taken up again.
$(STAMP): requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No $(PYTHON) found. Install Python 3.11, 3.12 or 3.13, or name one: make PYTHON=/path/to/python3.12"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v < (3, 14) else "$(PYTHON) is Python %d.%d; 3.11, 3.12 or 3.13 is needed. Name one: make PYTHON=python3.12" % v)'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@echo "Making the environment in $(VENV) (a few minutes and two gigabytes, once; longer where network or disk is slow)"
	@rm -f $(STAMP)
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check -r requirements.txt
	@touch $(STAMP)

book: $(STAMP)
	$(PY) -m pruning_lab.publish.build --profile $(PROFILE) $(if $(FORCE),--force)

# _build/pruning_lab-book.zip: unpacked, it opens by a double click on its index.html, with no network.
archive: $(STAMP)
	$(PY) -m pruning_lab.publish.build --profile $(PROFILE) --archive $(if $(FORCE),--force)

# The picture of README.md, from the published records.
picture: $(STAMP)
	$(PY) -m pruning_lab.report.picture

test: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m pytest $(WORKERS) --durations=25 --durations-min=10 $(ARGS)

# The last -m counts: pyproject.toml leaves these out.
soak: peers
	PYTHONPATH="$(PEERS)$${PYTHONPATH:+:$$PYTHONPATH}" $(PY) -m pytest $(WORKERS) -m soak $(ARGS)

serve: $(STAMP)
	@test -f _build/html/index.html || { echo "There is no book yet: make book"; exit 1; }
	@echo "http://127.0.0.1:$(PORT)   (Ctrl+C stops)"
	@$(PY) -m http.server $(PORT) --bind 127.0.0.1 --directory _build/html

# Other people's networks and methods, for `bench` and `soak` alone; what cannot be had is left out.
peers: $(STAMP)
	@$(PY) -m pip install --quiet --disable-pip-version-check --target $(PEERS) --upgrade --no-deps timm==1.0.31 huggingface_hub==2.4.0 httpx2==2.16.2 httpcore2==2.16.2 truststore==0.10.5 fsspec backpack-for-pytorch==1.7.1 einops unfoldNd weightwatcher==0.7.7 powerlaw==2.0.0 mpmath==1.4.1 transformers==5.24.0 tokenizers==0.23.3 safetensors matplotlib==3.11.2 contourpy cycler fonttools kiwisolver pyparsing || echo "no timm, no BackPACK, no WeightWatcher: their nets and the comparisons are left out"

bench: peers
	@$(PY) -m pip install --quiet --disable-pip-version-check opacus==1.6.0 || echo "no Opacus: the comparison with it is left out"
	@set -e; export PYTHONPATH="$(PEERS)$${PYTHONPATH:+:$$PYTHONPATH}"; for script in benchmarks/*.py; do echo "== $$script"; $(PY) $$script; done

# The environment, the user's cache folder and the local records stay.
clean:
	rm -rf _build .pytest_cache .hypothesis .ruff_cache out.ipynb *.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
