"""`python -m barnabee.up.demo_home`: run the demo home, or only create its token.

Prints JSON lines.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import structlog

from barnabee.up.demo_home import config, onboard
from barnabee.up.demo_home.config import DemoHome, DemoHomeFailed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until the home ends; return its exit status, or 1 when the set-up failed."""
    options = _make_parser().parse_args(arguments)
    from barnabee.core.logging import configure_logging  # noqa: PLC0415 - not before --help is answered

    configure_logging("home-assistant")
    home = DemoHome(
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


async def _run(home: DemoHome, options: argparse.Namespace) -> int:
    token_file: Path = options.token_file.resolve()
    if options.onboard_only:
        await onboard.ensure_token(home, token_file)
        return 0
    return await config.run_home(
        home, options.venv.resolve(), lambda: onboard.ensure_token(home, token_file)
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m barnabee.up.demo_home", description=__doc__)
    parser.add_argument(
        "--venv", type=Path, required=True, help="virtual environment that holds Home Assistant"
    )
    parser.add_argument(
        "--config-dir", type=Path, required=True, help="directory of Home Assistant's configuration"
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    parser.add_argument(
        "--token-file", type=Path, required=True, help="file for the long-lived access token"
    )
    parser.add_argument(
        "--package",
        type=Path,
        action="append",
        default=[],
        help="configuration package for Home Assistant; may be repeated",
    )
    parser.add_argument(
        "--webhook-id-file",
        type=Path,
        help="file with the id of the webhook for alerts; created if missing",
    )
    parser.add_argument(
        "--onboard-only",
        action="store_true",
        help="only create the token of a demo home that is already running",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
