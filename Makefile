# Everything runs in .venv, which is made on first use. Needs Python 3.11 or 3.12 and, on Debian or Ubuntu, the
# packages python3-venv libgl1 libglib2.0-0 libegl1.

VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 7860
EXAMPLES ?= $(or $(ECHOMIMIC_EXAMPLES),../shared/examples)

.PHONY: studio demo test check wheel proof proof-engine proof-studio proof-review proof-trainer proof-data bench experiments space nano
.DEFAULT_GOAL := studio

studio: $(VENV)/ready
	$(PY) app.py --port $(PORT)

demo: $(VENV)/ready
	mkdir -p out
	$(PY) -m engine generate --task talking-head --image assets/examples/02_navy-portrait.jpg \
	  --audio assets/examples/01_welcome.wav --prompt "happy" --out out/demo.mp4

test: $(VENV)/ready
	$(PY) -m pytest

check: $(VENV)/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

# The package as a user installs it: built, installed into an empty environment, used there.
wheel: $(VENV)/ready
	PYTHON=$(abspath $(PY)) sh tests/check_wheel.sh

proof: $(VENV)/ready
	$(PY) -m trainer proof --examples $(EXAMPLES) --out docs/proof.md

proof-data: $(VENV)/ready
	$(PY) -m trainer proof-data

proof-studio: $(VENV)/ready
	$(PY) -m tests.browser.proof --out docs/proof-studio.md --keep out/proof-studio

proof-review: $(VENV)/ready
	$(PY) -m tests.proofs.review --out docs/proof-review.md

proof-trainer: $(VENV)/ready
	$(PY) -m trainer prove --out docs/proof-trainer.md

experiments: $(VENV)/ready
	$(PY) -m trainer experiment all

# The bundled model anew, from nothing: hours.
nano: $(VENV)/ready
	PY=$(PY) trainer/nano.sh

# The folder to push to a Hugging Face Space, out/space, and a first start of it in an environment of its own.
space: $(VENV)/ready
	$(PY) space/build.py out/space --start

bench: $(VENV)/ready
	$(PY) -m benchmarks bench --examples $(EXAMPLES)

proof-engine: $(VENV)/ready
	$(PY) -m benchmarks proof --examples $(EXAMPLES)

$(VENV)/ready: requirements.txt .ci/set_up
	./.ci/set_up $(VENV)
	touch $@
