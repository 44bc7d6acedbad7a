"""Ask a running studio for a talking head over its API: `python examples/api.py PICTURE VOICE [OUT.mp4] [ADDRESS]`.

Needs only gradio_client. Every setting is a parameter of the endpoint (`guidance_audio`, `sampling_steps`, ...); what
is left out is the model's own default. `client.view_api()` lists them.
"""

import shutil
import sys

import httpx
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError


def make_talking_head(address: str, picture: str, voice: str, out: str) -> dict[str, object]:
    """Write the video to `out` and return its record: what it was made from, with every setting."""
    client = Client(address, verbose=False)
    video, record = client.predict(
        image=handle_file(picture),
        audio=handle_file(voice),
        prompt="happy",
        seed=7,
        sampling_steps=6,
        api_name="/generate_talking_head",
    )
    shutil.copyfile(video if isinstance(video, str) else video["video"], out)
    return record


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python examples/api.py PICTURE VOICE [OUT.mp4] [ADDRESS]")
    picture, voice, out, address = [*sys.argv[1:], *("talk.mp4", "http://127.0.0.1:7860")[len(sys.argv) - 3 :]][:4]
    try:
        made = make_talking_head(address, picture, voice, out)
    except (httpx.TransportError, ConnectionError):
        print(f"No studio answers at {address}: start one with `make studio`, or give its address.", file=sys.stderr)
        sys.exit(2)
    except (AppError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"{out}: {made['width_px']} x {made['height_px']} px, {made['num_frames']} frames")
