"""The `graft` command as a process of its own, and `python -m graft`: `graft.cli.main` between two guards of Ctrl-C."""

from __future__ import annotations

import signal
import sys

from graft import interrupts


def command() -> None:
    """Run the command line and leave with its exit code; Ctrl-C ends it with 130 and a sentence at whatever moment it comes."""
    try:
        interrupts.wait_for_imports()
        from graft.cli import main

        code = main()
    except KeyboardInterrupt:  # before the command line could take it, or while it told of an earlier one
        sys.stderr.write("Stopped.\n")
        code = 130
    # All is written and said: what Python does from here on is its own winding up, which a Ctrl-C would only garble.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    command()
