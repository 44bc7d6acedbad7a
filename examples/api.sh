#!/bin/sh
# A talking head with curl alone: sh examples/api.sh PICTURE VOICE OUT.mp4 [ADDRESS]
set -eu
[ $# -ge 3 ] || { echo "usage: sh examples/api.sh PICTURE VOICE OUT.mp4 [ADDRESS]" >&2; exit 2; }
picture=$1 voice=$2 out=$3 address=${4:-http://127.0.0.1:7860}
api=$address/gradio_api
curl -sS -o /dev/null "$address/" 2>/dev/null ||
    { echo "No studio answers at $address: start one with \`make studio\`, or give its address." >&2; exit 2; }
for file in "$picture" "$voice"; do
    [ -f "$file" ] || { echo "There is no file $file; check the path." >&2; exit 2; }
done

# Upload the files: the answer is a list of their paths on the server.
set -- $(curl -sS --fail -F "files=@$picture" -F "files=@$voice" "$api/upload" | tr -d '[]"' | tr ',' ' ')
file='"meta": {"_type": "gradio.FileData"}'
asked="{\"image\": {\"path\": \"$1\", $file}, \"audio\": {\"path\": \"$2\", $file}, \"sampling_steps\": 6}"

# Ask, then wait: the last line of the answer names the video.
call=$(curl -sS --fail "$api/call/v2/generate_talking_head" -H "Content-Type: application/json" -d "$asked" |
    sed 's/.*"event_id": *"\([^"]*\)".*/\1/')
url=$(curl -sSN --fail "$api/call/generate_talking_head/$call" | grep -o '"url": *"[^"]*"' | head -1 | cut -d'"' -f4)
curl -sS --fail "$url" -o "$out"
