"""Where a browser's player goes when it is moved: python scripts/player_seek.py [--minutes 20] [--browser PATH]

Encodes a tone whose frequency tells the time (1 kHz, and 4 Hz more every second), as the page's player gets it (Ogg Vorbis, FLAC) and as MP3 of constant
and of varying bit rate; moves chromium's player to five places of each; and prints how far what it plays there is from what its clock says, in
seconds. What all places have in common is the sound card's delay; it is subtracted. Needs playwright and a chromium.
"""

from __future__ import annotations

import argparse
import base64
import io
from typing import Any

import numpy as np
import soundfile

SAMPLE_RATE = 32_000
_FORMATS: dict[str, dict[str, Any]] = {
    "audio/ogg": {"format": "OGG"},
    "audio/flac": {"format": "FLAC"},
    "audio/mpeg; constant": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.9},
    "audio/mpeg; varying": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5},
}
_PLAY = """async ([data, type, times]) => {
  const player = new Audio(URL.createObjectURL(await (await fetch(`data:${type};base64,${data}`)).blob()));
  await new Promise((found, failed) => { player.onloadedmetadata = found; player.onerror = () => failed(player.error.message); });
  const context = new AudioContext({ sampleRate: 32000 }), taps = context.createScriptProcessor(16384, 1, 1);
  context.createMediaElementSource(player).connect(taps);
  taps.connect(context.destination);
  const played = [];
  for (const time of times) {
    player.pause();
    const arrived = new Promise((found) => { player.onseeked = found; });
    player.currentTime = time;
    await arrived;
    await player.play();
    await new Promise((found) => {
      let blocks = 0;
      taps.onaudioprocess = (event) => {
        if (++blocks < 3) return;
        played.push([player.currentTime, Array.from(event.inputBuffer.getChannelData(0))]);
        taps.onaudioprocess = null;
        found();
      };
    });
  }
  return played;
}"""


def tone(minutes: int, **options: Any) -> bytes:
    """The tone with every other 200 s in noise, for which an MP3 of varying bit rate takes more bits."""
    noise, file = np.random.default_rng(0), io.BytesIO()
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, **options) as sound:
        for second in range(60 * minutes):
            time_s = second + np.arange(SAMPLE_RATE) / SAMPLE_RATE
            samples = 0.3 * np.sin(2 * np.pi * (1_000 * time_s + 2 * time_s**2))
            sound.write(samples + 0.03 * (second // 200 % 2) * noise.standard_normal(SAMPLE_RATE))
    return file.getvalue()


def played_s(samples: np.ndarray) -> float:
    """The time in the recording of a block of the tone, its middle."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 20))
    return float((np.argmax(spectrum) * SAMPLE_RATE / (1 << 20) - 1_000) / 4)


def main() -> None:
    """Measure every format."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    arguments = parser.parse_args()
    times = [60.0 * arguments.minutes * share + 0.3 for share in (0.08, 0.28, 0.46, 0.75, 0.92)]
    with sync_playwright() as driver:
        flags = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=arguments.browser, args=flags)
        for name, options in _FORMATS.items():
            page = browser.new_page()
            data = base64.b64encode(tone(arguments.minutes, **options)).decode()
            played = page.evaluate(_PLAY, [data, name.partition(";")[0], times])
            late = np.array([clock - played_s(np.array(samples)) for clock, samples in played])
            off = ", ".join(f"{value:+.2f}" for value in late - np.median(late))
            print(f"{name}: {off}", flush=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
