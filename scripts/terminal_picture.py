"""Terminal picture: runs commands and draws their output as docs/images/terminal.svg.

scripts/terminal_picture.py OUTPUT.svg "./barnabee up -d --demo-home" "./barnabee say hello" …
"""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 100


def main(output: Path, commands: list[str]) -> None:
    """Run `commands` one after the other and save what they printed as a picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    environment = os.environ | {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH)}
    for command in commands:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        done = subprocess.run(
            shlex.split(command),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        console.print(Text.from_ansi(done.stdout.strip("\n")))
        console.print()
        if done.returncode:
            sys.exit(f"{command} ended with {done.returncode}: {done.stdout}")
    output.parent.mkdir(parents=True, exist_ok=True)
    console.save_svg(str(output), title="BarnabeeNet")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
