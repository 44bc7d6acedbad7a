# Everything runs in .venv, which is made on first use. Needs Python 3.11 or 3.12 and, on Debian or Ubuntu, the
# packages python3-venv libgl1 libglib2.0-0 libegl1.

VENV := .venv
PY := $(VENV)/bin/python
PORT ?= 7860
EXAMPLES ?= $(or $(ECHOMIMIC_EXAMPLES),../shared/examples)

.PHONY: studio demo test check wheel goals proof bench experiments space nano
.DEFAULT_GOAL := studio

studio: $(VENV)/ready
	$(PY) app.py --port $(PORT)

demo: $(VENV)/ready
	mkdir -p out
	$(PY) -m engine generate --task talking-head --image assets/examples/02_navy-portrait.jpg \
	  --audio assets/examples/01_welcome.wav --prompt "happy" --out out/demo.mp4

# In as many processes as there are cores, four at most; a file's tests stay together.
TESTS := -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test: $(VENV)/ready
	$(PY) $(TESTS)

check: $(VENV)/ready
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) $(TESTS)

# The package as a user installs it: built, installed into an empty environment, used there.
wheel: $(VENV)/ready
	PYTHON=$(abspath $(PY)) sh tests/check_wheel.sh

# What is promised, measured; pages go to docs/results. `make goals PART=engine`; without PART a list of everything.
goals: $(VENV)/ready
	$(PY) -m goals $(PART) --examples $(EXAMPLES)

proof: $(VENV)/ready
	$(PY) -m goals nano --examples $(EXAMPLES)

proof-%: $(VENV)/ready
	$(PY) -m goals $* --examples $(EXAMPLES)

experiments: $(VENV)/ready
	$(PY) -m research all

# The bundled model anew, from nothing: hours.
nano: $(VENV)/ready
	PY=$(PY) trainer/nano.sh

# The folder to push to a Hugging Face Space, out/space, and a first start of it in an environment of its own.
space: $(VENV)/ready
	$(PY) space/build.py out/space --start

bench: $(VENV)/ready
	$(PY) -m goals.engine.bench --examples $(EXAMPLES)

$(VENV)/ready: requirements.txt .ci/set_up
	./.ci/set_up $(VENV)
	touch $@
