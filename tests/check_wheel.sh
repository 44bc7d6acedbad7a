#!/bin/sh
# Build the wheel and use it in an empty environment of its own, from a folder that is not the checkout: the command
# answers, a clip is made with the bundled model, and the public names are importable. `make wheel`.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/dist" "$root"
"$python" -m venv "$work/venv"
# The versions that are tested together; what the package asks for itself must be enough.
sed -e '/^#/d' -e 's/\[[^]]*\]//' "$root/requirements.txt" >"$work/pins.txt"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$work/pins.txt" \
    "$work"/dist/*.whl
cd "$work"
du -sm venv/lib/python3*/site-packages | awk '{print "installed: " $1 " MB"}'
venv/bin/echomimic doctor
venv/bin/python -c "import sys, echomimic; echomimic.Settings(); assert 'torch' not in sys.modules"
assets=$(venv/bin/python -c "from engine.contract.places import ASSETS; print(ASSETS)")
venv/bin/python - "$assets" <<'PY'
import sys

from echomimic import generate, read_record

assets = sys.argv[1]
video = generate(
    image=f"{assets}/examples/01_drawn-portrait.jpg",
    audio=f"{assets}/examples/01_welcome.wav",
    out="talk.mp4",
    settings={"sampling.steps": 2},
)
assert read_record(video.path).request.settings.sampling.steps == 2
print(f"{video.path}: {video.record.num_frames} frames")
PY
venv/bin/echomimic inspect talk.mp4 >inspected.json
venv/bin/echomimic export talk.mp4 --out phone.mp4 --captions "Welcome." | grep -q phone.srt
venv/bin/echomimic studio --help >/dev/null
echo "the wheel works"
