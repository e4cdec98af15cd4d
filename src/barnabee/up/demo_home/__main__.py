"""`python -m barnabee.up.demo_home`: run the demo home, or only see to its token.

Reads its arguments and nothing else; prints JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from barnabee.up.demo_home import onboard, process
from barnabee.up.demo_home.config import Home
from barnabee.up.demo_home.errors import DemoHomeFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the home ends; return its exit status, or 1 where it could not be set up."""
    options = _parser().parse_args(arguments)
    from barnabee.core.logging import configure  # noqa: PLC0415 - not before --help is answered

    configure("home-assistant")
    home = Home(
        directory=options.config_dir.resolve(),
        port=options.port,
        packages=tuple(path.resolve() for path in options.package),
        webhook_id_file=options.webhook_id_file,
    )
    try:
        return asyncio.run(_run(home, options))
    except DemoHomeFailed as error:
        structlog.get_logger().error("demo_home_failed", code=error.code, message=str(error))
        return error.exit_code


async def _run(home: Home, options: argparse.Namespace) -> int:
    token_file: Path = options.token_file.resolve()
    if options.onboard_only:
        await onboard.ensure_token(home, token_file)
        return 0
    return await process.run(
        home, options.venv.resolve(), lambda: onboard.ensure_token(home, token_file)
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m barnabee.up.demo_home", description=__doc__)
    parser.add_argument(
        "--venv", type=Path, required=True, help="virtual environment that holds Home Assistant"
    )
    parser.add_argument(
        "--config-dir", type=Path, required=True, help="directory that holds all the home knows"
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="where the long-lived token is written"
    )
    parser.add_argument(
        "--package",
        type=Path,
        action="append",
        default=[],
        help="a file of configuration to give to Home Assistant; may be repeated",
    )
    parser.add_argument(
        "--webhook-id-file",
        type=Path,
        help="where the id of the webhook for alerts is, or is written when there is none",
    )
    parser.add_argument(
        "--onboard-only",
        action="store_true",
        help="only see to the token of a home that somebody else runs",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
