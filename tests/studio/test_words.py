"""Every word that the page shows has its Chinese."""

import ast
from pathlib import Path

import pytest

from engine.contract.variants import TASK_INFO, VARIANTS
from engine.nano.words import HALF_BODY_NOTICE
from studio import job_views, views
from studio.fields import all_fields
from studio.review.words import WORDS
from studio.tabs import face_boxes, form, generate
from studio.tabs.live_panel import CURVE_WORDS
from studio.words import CHINESE, CHINESE_WORDS, LANGUAGE, preferred_language, tr

STUDIO = Path(form.__file__).parents[1]
SAYING = {"tr", "label", "part_heading", "_button", "_presets", "_second"}
NOT_WORDS = {
    *("image", "last_image", "video", "audio", "down", "up", "guidance-preset", "speed-preset"),
    *("redo-start", "redo-stop", "↑", "↓"),
}


def said_in(source: Path) -> set[str]:
    """The words that stand in the source as what is said: in the calls that translate."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    saying = [call for call in calls if getattr(call.func, "id", getattr(call.func, "attr", "")) in SAYING]
    plain = [argument for call in saying for argument in (*call.args, *(keyword.value for keyword in call.keywords))]
    branches = [branch for node in plain if isinstance(node, ast.IfExp) for branch in (node.body, node.orelse)]
    found = {node.value for node in (*plain, *branches) if isinstance(node, ast.Constant)}
    return {words for words in found if isinstance(words, str) and words.strip()} - NOT_WORDS


@pytest.mark.parametrize(
    "source", sorted(STUDIO.rglob("*.py")), ids=lambda path: path.relative_to(STUDIO).with_suffix("").as_posix()
)
def test_what_is_said_has_its_chinese(source: Path):
    acts = {"pause", "resume", "edit", "delete", "again", "open", "reuse"}
    assert sorted(said_in(source) - acts - set(CHINESE_WORDS)) == []


def test_what_is_said_of_tasks_settings_and_stages_has_its_chinese():
    words = {CURVE_WORDS[name] for name in CURVE_WORDS} | set(views.STAGE_TITLES.values())
    words |= set(job_views.STATE_WORDS.values()) | set(generate.TASK_TITLES.values()) | {generate.BATCH_HINT}
    words |= set(WORDS) | {part for pair in (*face_boxes.WORDS.values(), *form.CARDS.values()) for part in pair}
    words |= {*form.PROMPT_EXAMPLES, HALF_BODY_NOTICE}
    words |= {text for info in TASK_INFO.values() for text in (info.title, info.description)}
    words |= {f"{{title}} · {unit} {{done}} of {{total}}" for unit in views.STAGE_UNITS.values()}
    for variant in VARIANTS.values():
        for field in all_fields(variant):
            words |= {field.title, field.section, *([field.description] if field.description else [])}
    assert sorted(words - set(CHINESE_WORDS)) == []


def test_translations_name_the_same_values():
    for english, chinese in CHINESE_WORDS.items():
        named = [{part.partition("}")[0] for part in words.split("{")[1:]} for words in (english, chinese)]
        assert named[0] == named[1], english


def test_the_language_is_the_first_that_we_have():
    assert preferred_language("fr, zh-TW;q=0.8, en") == CHINESE
    token = LANGUAGE.set(CHINESE)
    try:
        assert tr("{time} of sound", time="3 s") == "声音长 3 s"
    finally:
        LANGUAGE.reset(token)
