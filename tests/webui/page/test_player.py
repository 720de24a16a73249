"""Playback from decoded samples: exact places, loops and changes of clip, in a real browser."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import soundfile
import torch

from dualdiffusion.audio import loudness_lufs
from tests.webui.conftest import Server, until
from tests.webui.visit import Visit

pytestmark = pytest.mark.browser

PRELUDE = """
    const { Transport } = await import('/static/js/sound/transport.js');
    const { DecodedSounds, rateOf } = await import('/static/js/sound/decoded.js');
    const { loudnessOf } = await import('/static/js/sound/loudness.js');
    const { equalGains } = await import('/static/js/editor/compare.js');
    // What a transport plays, as samples: a context that renders instead of sounding.
    class Recorder extends OfflineAudioContext {
      get state() { return 'running'; }
    }
    const sound = (samples, rate) => {
      const buffer = new AudioBuffer({ length: samples.length, sampleRate: rate });
      buffer.copyToChannel(Float32Array.from(samples), 0);
      return buffer;
    };
"""


@pytest.fixture(scope="module")
def visit(chromium: Any, page_server: Server) -> Iterator[Visit]:
    for seed in (5, 6):
        page_server.wait(page_server.submit(seed=seed, seconds=2, steps=1), "done", timeout=60)
    visit = Visit(chromium, page_server)
    visit.wait_for_cards(2)
    yield visit
    visit.close()


@pytest.fixture(autouse=True)
def no_complaints(visit: Visit) -> Iterator[None]:
    yield
    assert visit.complaints == []


def run(visit: Visit, script: str, argument: Any = None) -> Any:
    return visit.page.evaluate(f"async (argument) => {{ {PRELUDE} {script} }}", argument)


def position(visit: Visit) -> float:
    return float(visit.page.locator("#dock-wave").get_attribute("aria-valuenow"))


def shows(visit: Visit, label: str) -> bool:
    return visit.page.locator("#dock-play").get_attribute("aria-label") == label


def test_a_short_clip_plays_from_any_place_and_again(visit: Visit) -> None:
    page = visit.page
    page.locator(".card-play").first.click()
    until(lambda: shows(visit, "Pause") and position(visit) > 0, "it plays")
    page.locator("#dock-play").click()
    wave = page.locator("#dock-wave")
    for share in (0.67, 0.94, 0.97):
        wave.click(position={"x": share * wave.bounding_box()["width"], "y": 20})
        assert position(visit) == pytest.approx(2 * share, abs=0.06)
        page.locator("#dock-play").click()
        until(lambda: shows(visit, "Play") and position(visit) == 2, f"it plays from {share:.0%} to its end")
    page.locator("#dock-play").click()
    until(lambda: shows(visit, "Pause") and 0 < position(visit) < 1.9, "it plays again from the beginning")
    page.locator("#dock-play").click()
    assert not page.locator(".toast").count(), "no word of a file that is gone"


def test_loops_are_exact_to_the_sample(visit: Visit) -> None:
    played = run(
        visit,
        """
        const rate = 8000;
        const recorder = new Recorder(1, rate, rate);
        const transport = new Transport(() => recorder);
        transport.load(sound(Array.from({ length: 1000 }, (_, i) => i / 1000), rate), { position: 0.05 });
        transport.loop = { start: 200 / rate, end: 731 / rate };
        await transport.play();
        return Array.from((await recorder.startRendering()).getChannelData(0));
        """,
    )
    at, faded = [], 100
    for sample in range(8000):
        at.append(400 + sample if 400 + sample < 731 else 200 + (400 + sample - 200) % 531)
    assert played[faded:] == pytest.approx([place / 1000 for place in at[faded:]], abs=1e-6)


def test_another_clip_takes_over_at_the_same_place_without_a_gap(visit: Visit) -> None:
    played = run(
        visit,
        """
        const rate = 8000;
        const recorder = new Recorder(1, rate, rate);
        const transport = new Transport(() => recorder);
        const ramp = Array.from({ length: rate }, (_, i) => 0.5 + i / 100_000);
        transport.load(sound(ramp, rate));
        await transport.play();
        recorder.suspend(0.512).then(() => {
          transport.swap(sound(ramp.map((value) => 2 * value), rate), 0.5);
          recorder.resume();
        });
        return Array.from((await recorder.startRendering()).getChannelData(0));
        """,
    )
    # Twice as loud and played at half: what is heard goes on as if nothing had happened.
    assert played[100:] == pytest.approx([0.5 + sample / 100_000 for sample in range(100, 8000)], abs=0.005)


def test_loudness_is_that_of_the_meter_and_equal_gains_make_it_equal(visit: Visit) -> None:
    server = visit.server
    jobs = server.client.get("/api/jobs").json()["jobs"][:2]
    measured, gains = run(
        visit,
        """
        const sounds = new DecodedSounds();
        const decoded = await Promise.all(argument.map((job) => sounds.get(job)));
        const loudness = await Promise.all(decoded.map(loudnessOf));
        return [[...decoded.map(({ sampleRate }) => sampleRate), ...loudness], equalGains([...loudness, -Infinity])];
        """,
        jobs,
    )
    assert measured[:2] == [32000, 32000], "decoded at the clip's own rate"
    levels = []
    for job, lufs, gain in zip(jobs, measured[2:], gains, strict=False):
        samples, rate = soundfile.read(io.BytesIO(server.client.get(job["audio"]).content), dtype="float32")
        assert lufs == pytest.approx(loudness_lufs(torch.from_numpy(samples.T), rate), abs=0.1)
        levels.append(loudness_lufs(torch.from_numpy(samples.T) * gain, rate))
    assert levels[0] == pytest.approx(levels[1], abs=0.1)
    assert max(gains) == 1 and gains[2] == 1


def test_decoded_samples_have_a_budget(visit: Visit) -> None:
    jobs = visit.server.client.get("/api/jobs").json()["jobs"][:2]
    sizes = run(
        visit,
        """
        const [first, second] = argument;
        const sounds = new DecodedSounds(600_000); // one of them has 512,000 bytes
        const sizes = [];
        for (const [pinned, ...clips] of [['', first, second, first], [first.id, second, first]]) {
          sounds.pinned = new Set([pinned]);
          for (const clip of clips) {
            await sounds.get(clip);
            sizes.push(sounds.size);
          }
        }
        await sounds.get({ id: 'x', audio: '/api/jobs/0123456789abcdef/audio' }).catch(() => sizes.push('told'));
        return sizes;
        """,
        jobs,
    )
    assert sizes == [512_000, 512_000, 512_000, 1_024_000, 1_024_000, "told"]
    assert "404" in visit.complaints.pop()


def test_a_finished_clip_replaces_no_paused_one_here_or_elsewhere(chromium: Any, visit: Visit) -> None:
    page = visit.page
    other = Visit(chromium, visit.server)
    for each in (visit, other):
        each.page.locator(".card-play").last.click()
        until(lambda e=each: shows(e, "Pause"), "it plays")
        each.page.keyboard.press("Space")
        until(lambda e=each: shows(e, "Play"), "it is paused")
    other.page.locator(".rename").last.click()
    other.page.locator(".title-input").fill("The paused one")
    other.page.keyboard.press("Enter")
    page.uncheck("#play-new")
    visit.quick(seconds=1, steps=1)
    page.click("#generate")
    for each in (visit, other):
        until(lambda e=each: len(e.cards()) == 3, "the new clip is there", timeout=30)
        assert each.page.inner_text("#dock-title") == "The paused one"
    other.close()
    assert other.complaints == []


def test_keys_go_between_compared_clips_at_the_same_place(visit: Visit) -> None:
    page = visit.page
    page.locator("#stage").focus()
    for number in (1, 2):  # both have two seconds
        page.locator(".card .compare").nth(number).click()
    chips = page.locator("#compare .chip")
    assert chips.count() == 2
    until(lambda: any("LUFS" in (chip.get_attribute("title") or "") for chip in chips.all()), "they are measured")
    page.keyboard.press("2")
    page.keyboard.press("Space")
    until(lambda: shows(visit, "Pause") and position(visit) > 0.2, "it plays")
    before = position(visit)
    page.keyboard.press("1")
    until(lambda: chips.nth(0).get_attribute("aria-pressed") == "true", "the first one is heard")
    assert chips.nth(1).get_attribute("aria-pressed") == "false"
    assert position(visit) >= before and (shows(visit, "Pause") or position(visit) == 2), "it goes on"
    page.get_by_role("button", name="Stop comparing").click()
    assert page.locator("#compare").is_hidden()
