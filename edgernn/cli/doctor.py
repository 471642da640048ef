"""`edgernn doctor`: what really works on this machine."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version

import click

from edgernn import __version__
from edgernn.cli.command_options import json_option
from edgernn.cli.stage_display import show_stages
from edgernn.cli.terminal_notes import verbosity, verbosity_options

_PACKAGES = ("numpy", "onnxruntime", "onnxruntime-gpu", "torch", "onnx")


@click.command("doctor", short_help="Show which providers really work here.")
@json_option
@verbosity_options
def command(as_json: bool) -> None:
    """Show which providers really work here, and what the others lack.

    Every provider runs a small graph; being listed by ONNX Runtime proves nothing. The options of
    those that work are listed, with --verbose those of all: --provider cuda:device_id=1,use_tf32=1.
    """
    from edgernn.runtime.provider_options import OPTIONS, describe_options
    from edgernn.runtime.providers import (
        PROVIDERS,
        conflicting_builds,
        find_library,
        try_providers,
    )

    with show_stages("trying the providers"):
        surveys, library = try_providers(), find_library()
    versions = {
        "python": platform.python_version(),
        "edgernn": __version__,
        **{package: _version(package) for package in _PACKAGES},
    }
    if as_json:
        report = {
            "versions": versions,
            "library": str(library) if library else None,
            "conflict": conflicting_builds(),
            "providers": [
                {
                    **asdict(found),
                    "install": PROVIDERS[found.name].install,
                    "options": {name: kind.text for name, kind in OPTIONS[found.name].items()},
                }
                for found in surveys
            ],
        }
        click.echo(json.dumps(report, indent=2))
        return
    from edgernn.cli.terminal_tables import facts, show, table, unbroken

    clash = conflicting_builds()
    shown = [one.name for one in surveys if one.works or verbosity() == "verbose"]
    options = [(name, text) for name in shown if (text := describe_options(name))]
    show(
        facts((name, found or "not installed") for name, found in versions.items()),
        table(
            "Providers",
            ("name", "works", "what it lacks"),
            ((found.name, "yes" if found.works else "no", found.reason) for found in surveys),
        ),
        *([table("Options", ("name", "options"), options)] if options else []),
        *([unbroken("library", str(library))] if library else []),
        *([facts([("problem", clash)])] if clash else []),
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
