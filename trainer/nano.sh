#!/bin/sh
# Makes the bundled nano anew, from nothing to assets/: `make nano`, some four hours on one core, added up from its
# parts. What is finished is not done again. Needs Debian's espeak-ng, flite, festival, festvox-kdlpc16k and curl. Labels
# are given by a rule, through the review store of a studio that is started for it; see trainer/objectives/judge.py.
set -eu
PY=${PY:-.venv/bin/python}
PORT=${PORT:-7899}
RUNS=runs
CYCLES=$RUNS/nano-cycles

[ -d data/speech/train ] || $PY -m trainer synthesize
[ -f $RUNS/audio_encoder/audio_encoder.safetensors ] || $PY -m trainer audio-encoder --steps 2900
[ -f $RUNS/audio_encoder_closures/audio_encoder.safetensors ] || $PY -m trainer audio-encoder --steps 1000 --seed 3 \
  --start $RUNS/audio_encoder/audio_encoder.safetensors --closure-weight 3 --out $RUNS/audio_encoder_closures

$PY -m trainer sft --recipe nano
$PY -m trainer sft --recipe nano-soup --start $RUNS/nano/model
$PY -m trainer sft --recipe nano-lips --start $RUNS/nano-soup/model
$PY -m trainer sft --recipe nano-closures --start $RUNS/nano-lips/model \
  --audio-encoder $RUNS/audio_encoder_closures/audio_encoder.safetensors

mkdir -p $CYCLES/inputs
$PY - $CYCLES/inputs <<'INPUTS'
"""Eight voices of 4 s that say sentences of their own, and the bundled portraits, small."""
import sys
from pathlib import Path

import soundfile
from PIL import Image

from trainer.metrics.held_out import held_out_tracks

folder = Path(sys.argv[1])
for number, track in enumerate(held_out_tracks(("heldout_text",), 8, 4.0)):
    soundfile.write(folder / f"voice{number}.wav", track.wave, 16000)
for path in Path("assets/examples").glob("*.jpg"):
    picture = Image.open(path)
    picture.thumbnail((400, 400))
    picture.save(folder / f"{path.stem}.png")
INPUTS

# cycle NUMBER MODEL VOICE...: candidates of MODEL, judged and labelled, into $CYCLES/NUMBER/labels.jsonl
label() {
  number=$1 model=$(realpath "$2") folder=$CYCLES/$1
  shift 2
  [ -f "$folder/labels.jsonl" ] && return
  mkdir -p "$folder"
  $PY app.py --port "$PORT" --data $CYCLES/studio &
  studio=$!
  trap 'kill $studio' EXIT
  until curl -sf "http://127.0.0.1:$PORT/review/setup" > /dev/null; do kill -0 $studio; sleep 1; done
  for picture in $CYCLES/inputs/*.png; do set -- "$@" --image "$picture"; done
  batch=$($PY examples/candidates.py "$model" --address "http://127.0.0.1:$PORT" "$@" \
    --prompt "" --prompt calm --prompt natural --prompt still --seeds 1 --first-seed $((9000 + 100 * number)))
  until curl -sf "http://127.0.0.1:$PORT/review/agreement/$batch" | grep -Eq '"waiting": ?0[,}]'; do
    kill -0 $studio
    sleep 5
  done
  curl -sf "http://127.0.0.1:$PORT/review/export/clips.jsonl?batch=$batch&paths=here" > "$folder/clips.jsonl"
  $PY -m trainer judge "$folder/clips.jsonl" --model "$model" --issue exaggerated-motion --over 0.08 > "$folder/judged.jsonl"
  $PY examples/label_by_rule.py "http://127.0.0.1:$PORT" "$batch" "$folder/judged.jsonl" "$folder/labels.jsonl"
  kill $studio
  trap - EXIT
}

voices() { for number; do printf -- '--voice %s ' "$CYCLES/inputs/voice$number.wav"; done; }

cycle() {
  $PY -m trainer cycle --model $RUNS/nano-closures/model --run $CYCLES --issue exaggerated-motion \
    --recipe nano-closures --steps 30 --sft-steps 30
}

# shellcheck disable=SC2046  # the voices are words of their own
label 1 $RUNS/nano-closures/model $(voices 0 1 2 3)
cycle
# shellcheck disable=SC2046
label 2 $CYCLES/1/sft/model $(voices 4 5 6 7)
cycle

# Lips that meet: the encoder and the model once more, closures counting more each time.
FIRM=$RUNS/audio_encoder_firm
[ -f $FIRM/audio_encoder.safetensors ] || $PY -m trainer audio-encoder --steps 1500 --seed 11 \
  --start $RUNS/audio_encoder_closures/audio_encoder.safetensors --closure-weight 2 --out $FIRM
$PY -m trainer sft --recipe nano-closures --start $CYCLES/2/sft/model --run $RUNS/nano-firm \
  --audio-encoder $FIRM/audio_encoder.safetensors
$PY -m trainer sft --recipe nano-contacts --start $RUNS/nano-firm/model \
  --audio-encoder $FIRM/audio_encoder.safetensors

$PY -m trainer publish \
  --run $RUNS/nano $RUNS/nano-soup $RUNS/nano-lips $RUNS/nano-closures \
  $CYCLES/1/ndpo $CYCLES/1/sft $CYCLES/2/ndpo $CYCLES/2/sft $RUNS/nano-firm $RUNS/nano-contacts \
  --audio-encoder $RUNS/audio_encoder $RUNS/audio_encoder_closures $FIRM
