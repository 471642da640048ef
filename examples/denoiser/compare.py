"""Print how much louder a voice is than what differs from it, for each of some sound files."""

from __future__ import annotations

import click
import numpy as np
import soundfile


@click.command()
@click.argument("voice")
@click.argument("sounds", nargs=-1, required=True)
def main(voice: str, sounds: tuple[str, ...]) -> None:
    """Compare SOUNDS with VOICE, the voice alone."""
    expected, _ = soundfile.read(voice)
    for name in sounds:
        sound, _ = soundfile.read(name)
        alone = expected[: len(sound)]
        decibels = 10 * np.log10(np.square(alone).sum() / np.square(sound - alone).sum())
        click.echo(f"{name}: {decibels:.0f} dB")


if __name__ == "__main__":
    main()
