from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core import system


def test_the_repositorys_system_toml_is_valid() -> None:
    result = CliRunner().invoke(app, ["check", str(system.find_system_file())])
    assert result.exit_code == 0
    assert "valid" in result.stdout


def test_each_problem_is_a_line_with_file_key_and_fix(tmp_path: Path) -> None:
    text = system.find_system_file().read_text(encoding="utf-8")
    file = tmp_path / "system.toml"
    file.write_text(
        text.replace("port = 8001", "port = 8000").replace('"gpu", "worker"', '"cpu", "worker"'),
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["check", str(file)])
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert f"{file}: service.api.port: 8000 is the port of service.gpu; choose another" in lines
    assert any(line.startswith(f"{file}: service.api.wants: there is no") for line in lines)
