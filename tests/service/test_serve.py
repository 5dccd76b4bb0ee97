"""The command: it starts, says where, ends when asked to, and finishes what it is at."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stablenormal.cli.main import main

from .conftest import Service, picture, wait_until
from .test_answers import packed, record


def started(*words: str) -> tuple[subprocess.Popen[str], Service]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stablenormal", "serve", "--port", "0", "--offline", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise AssertionError(process.communicate())
    port = int(line.split()[1].rstrip("/").rpartition(":")[2])
    return process, Service(port, None, None)  # type: ignore[arg-type]


def test_sigterm_finishes_what_is_being_answered_and_takes_nothing_more(
    toy_model: Path, tmp_path: Path
) -> None:
    process, service = started("--model", str(toy_model), "-o", str(tmp_path / "log"))
    try:
        wait_until(lambda: service.ask("GET", "/readyz").status == 200, 120)
        batch = packed([(f"{number}.png", picture(number)) for number in range(12)])
        answers = service.post_later("/v1/batch?resolution=96", batch, "application/zip")
        wait_until(lambda: b"stablenormal_photographs_total 0.0" not in service.ask("GET", "/metrics").body)
        assert not answers  # the model has begun, and is not done
        process.send_signal(signal.SIGTERM)
        service.joined()
        archive, results = record(answers[0].body)
        assert len(archive.namelist()) == 13 and len(results) == 12
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    finally:
        process.kill()
        process.communicate()
    with pytest.raises(ConnectionRefusedError):
        service.ask("GET", "/healthz")
    lines = [json.loads(line) for line in (tmp_path / "log/requests.jsonl").read_text().splitlines()]
    assert {"path": "/v1/batch", "status": 200, "method": "POST"}.items() <= lines[-1].items()
    settings = json.loads((tmp_path / "log/serve.json").read_text())
    assert settings["limits"]["queue"] == 32 and settings["tokens"] is False


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["serve", *words])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_a_taken_port_a_missing_model_and_a_missing_extra_are_one_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(capsys, "--port", str(taken.getsockname()[1]))
        assert "choose another" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert str(empty) in refused(capsys, "--port", "0", "--model", str(empty))
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    assert "pip install 'stablenormal[serve]'" in refused(capsys)
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(SystemExit):
        main(["app"])
    assert "pip install 'stablenormal[app]'" in capsys.readouterr().err
