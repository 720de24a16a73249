"""From a folder of music to a model, in a real browser, with the real commands and the smallest networks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.webui.conftest import is_alive, until
from tests.webui.learn.studio_server import StudioServer

# Four commands of ours, each with a start of torch: too long for every change.
pytestmark = [pytest.mark.browser, pytest.mark.benchmarks, pytest.mark.timeout(1500)]
PATIENCE = 300_000  # ms: on a busy machine, a start of torch takes minutes


@pytest.fixture
def page(chromium: Any, studio: StudioServer) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{studio.url}/#learn")
    yield page
    context.close()
    assert faults == []


def stage(page: Any, name: str, status: str) -> None:
    page.locator(f'.stage-row[data-key="{name}"][data-status="{status}"]').wait_for()


def choose_and_prepare(page: Any) -> None:
    """The folder, what it holds, the suggested kind, a name."""
    page.locator(".folder", has_text="snes").click()
    page.locator(".folder", has_text="Castle").wait_for()
    assert page.locator("#learn-prepare").is_disabled()  # nobody has looked yet
    page.click("#learn-look")
    page.locator(".survey .total").wait_for()
    assert page.inner_text(".survey .total") == "6 tracks of 2 games, 36 s"
    assert "1 file would be refused" in page.inner_text(".survey")
    page.locator("input[value=tiny]:checked").wait_for()
    assert page.locator("input[value=large]").is_disabled()
    assert page.input_value("#learn-name") == "snes"
    page.fill("#learn-name", "mine")
    page.click("#learn-prepare")
    page.locator("[data-what=train]").wait_for()


def test_a_new_generator_from_a_folder_of_music_with_a_restart_in_the_middle(page: Any, studio: StudioServer) -> None:
    choose_and_prepare(page)
    page.locator(".summary .games").wait_for()
    assert "6 tracks of 2 games" in page.inner_text(".summary .total")
    page.click("[data-what=train]")
    stage(page, "vae", "running")
    assert page.locator("#turn").is_visible()  # who has the processor, and what one may do
    command = until(lambda: studio_command(studio), "a command is at work")
    studio.kill()
    assert is_alive(command)  # the training has not noticed
    studio.start()
    page.reload()
    assert page.locator(".generator h2").first.inner_text() == "mine"
    page.locator("[data-what=play]").wait_for(timeout=4 * PATIENCE)
    assert studio.generator("mine")["status"] == "done"
    assert page.locator(".stage-row[data-status=done]").count() == 5
    heard_and_seen(page, studio)
    page.click("[data-what=play]")
    until(lambda: studio.client.get("/api/health").json()["model"] == "mine", "the page plays the new model")
    until(lambda: page.locator("#desk").is_visible(), "the instrument is back")
    assert {"vae", "unet", "format"} <= {path.name for path in (studio.folder / "models" / "mine").iterdir()}


def studio_command(studio: StudioServer) -> int | None:
    """The number of the process that trains the VAE."""
    from dualdiffusion.files import read_json

    state: dict[str, Any] = read_json(Path(studio.work) / "generators" / "mine" / "run.json")
    return state["command"]["pid"] if state["stage"] == "vae" and state["command"] else None


def heard_and_seen(page: Any, studio: StudioServer) -> None:
    """Curves of both trainings, and demos that are sounds."""
    page.locator(".demos audio").first.wait_for()
    page.locator(".curves").nth(1).wait_for()
    assert "480 of 480 samples" in page.locator(".curves").first.get_attribute("aria-label")

    def are_named() -> bool:
        names = page.locator(".demo-name").all_inner_texts()
        return any("reconstruction" in name for name in names) and any(name.startswith("UNet") for name in names)

    until(are_named, "demos of both")
    demos = studio.client.get("/api/learn/generators/mine/demos").json()
    sound = studio.client.get(f"/api/learn/generators/mine/demos/unet/{demos['unet'][0]['id']}")
    assert sound.headers["content-type"] == "audio/wav" and sound.content.startswith(b"RIFF")
