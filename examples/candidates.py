"""Let a running studio make candidates of a checkpoint, to be labelled in its Review tab or by a rule.

    python examples/candidates.py runs/nano/model --image face.jpg --voice words.wav --prompt happy --seeds 4

makes a batch of every picture with every voice, every prompt and every seed, and prints the batch's number. The model
is a name or a folder on the studio's machine. Needs only gradio_client; the endpoint is for who leads the studio.
"""

import argparse

from gradio_client import Client, handle_file


def generate_candidates(
    address: str,
    model: str,
    images: list[str],
    voices: list[str],
    prompts: list[str],
    *,
    seeds: int = 4,
    first_seed: int | None = None,
    title: str = "",
    login: tuple[str, str] | None = None,
) -> dict[str, object]:
    """The new batch: its number `batch`, its `title`, and how many `clips` are being made. Does not wait for them."""
    return Client(address, auth=login, verbose=False).predict(
        images=[handle_file(path) for path in images],
        voices=[handle_file(path) for path in voices],
        model=model,
        prompts=prompts,
        seeds=seeds,
        first_seed=first_seed,
        title=title,
        api_name="/generate_candidates",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="nano, or a folder with a checkpoint")
    parser.add_argument("--image", action="append", required=True, help="repeat for more")
    parser.add_argument("--voice", action="append", required=True, help="repeat for more")
    parser.add_argument("--prompt", action="append", default=[], help="repeat for more")
    parser.add_argument("--seeds", type=int, default=4, help="how many of each (default: 4)")
    parser.add_argument("--first-seed", type=int, help="they count on from this one (default: random)")
    parser.add_argument("--title", default="", help="the batch's name")
    parser.add_argument("--address", default="http://127.0.0.1:7860")
    parser.add_argument("--login", metavar="USER:PASSWORD", type=lambda text: tuple(text.split(":", 1)))
    asked = parser.parse_args()
    made = generate_candidates(
        asked.address,
        asked.model,
        asked.image,
        asked.voice,
        asked.prompt,
        seeds=asked.seeds,
        first_seed=asked.first_seed,
        title=asked.title,
        login=asked.login,
    )
    print(made["batch"])
