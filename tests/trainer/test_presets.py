"""A block's presets: one set of numbers for the page and the command line, and the recipe that works among them."""

import argparse

import pytest

from engine.contract.unlearning import DEFAULT_PRESET, PRESETS
from trainer.cli import ndpo_command
from trainer.loop.recipes import NDPORecipe, forgetting, preset


def recipe(*flags: str, is_nano: bool = True) -> NDPORecipe:
    parser = argparse.ArgumentParser()
    ndpo_command.add_arguments(parser)
    return ndpo_command.recipe_of(parser.parse_args(["--labels", "l", "--run", "r", *flags]), is_nano=is_nano)


def test_the_recipe_that_unlearns_can_be_chosen_and_is_the_default():
    assert recipe() == recipe("--preset", "forgetting") == forgetting() == preset(DEFAULT_PRESET)
    assert recipe("--preset", "gentle") == NDPORecipe()


def test_a_released_model_begins_gently():
    assert recipe("--batch", "16", is_nano=False) == NDPORecipe()


@pytest.mark.parametrize("name", PRESETS)
def test_numbers_that_are_given_go_before_the_presets(name):
    given = recipe("--preset", name, "--steps", "7", "--budget", "0.4", "--rate-share", "0.3", "--sft-weight", "0.7")
    numbers = (given.steps, given.forget_budget, given.learning_rate_share, given.sft_weight)
    assert numbers == (7, 0.4, 0.3, 0.7) and given.check_every == PRESETS[name].check_every
