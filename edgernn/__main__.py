"""`python -m edgernn`: the command line without its installed script."""

from edgernn.cli import main

main(prog_name="edgernn")
