"""The page docs/cli.md, made from the help texts of the commands; `scripts/docs` writes it."""

from __future__ import annotations

import click

from edgernn.cli import main

HEAD = """# The command line

This page is the reference of every command and option. [export.md](export.md) and
[run.md](run.md) show how to use them; `scripts/docs` makes this page from the commands' own help.

Results go to standard output, notes and progress to standard error. The exit code is 0 for success,
1 for what edgernn refuses, with one message that says what was expected and what to do, 2 for a
command line that it does not understand, and 130 after Ctrl-C."""


def page() -> str:
    """Return the page in Markdown."""
    context = _context(main, "edgernn")
    sections = [HEAD, _block(context)]
    for name in main.list_commands(context):
        command = main.get_command(context, name)
        assert command is not None
        sections += [f"## edgernn {name}", _block(_context(command, name, context))]
    return "\n\n".join(sections) + "\n"


def _context(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    return command.make_context(
        name, [], parent, resilient_parsing=True, terminal_width=80, max_content_width=80
    )


def _block(context: click.Context) -> str:
    return f"```text\n{context.get_help().rstrip()}\n```"


if __name__ == "__main__":
    click.echo(page(), nl=False)
