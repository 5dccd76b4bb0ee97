"""Load on `stablenormal serve`: photographs a second, how long answers take, and whether memory stays flat.

python benchmarks/service.py [--clients 1,4,16] [--requests 1000] [--size 256] [-o results.json]

Starts the service in a process of its own and asks it with clients that each send the next photograph when
they have their answer. Every answer is read to its end and counted by its status. Absolute times depend on
the machine and its load: compare the rows with each other.
"""

import argparse
import http.client
import io
import os
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image
from recording import parse, write_result

SAMPLE = Path(__file__).parents[1] / "src/stablenormal/samples/kitchen.jpg"
WARM_UP = 40
"""Requests before the first measurement."""


def main() -> None:
    """Ask, print a table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", default="1,4,16", help="how many ask at a time, with commas")
    parser.add_argument("--requests", type=int, default=1000, help="of all rows together")
    parser.add_argument("--size", type=int, default=256, help="side of the photograph in pixels")
    parser.add_argument("--mode", default="turbo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("-o", "--out", type=Path)
    options = parse(parser)
    rows = [int(text) for text in options.clients.split(",")]
    photograph = _photograph(options.size)
    command = [sys.executable, "-u", "-m", "stablenormal", "serve", "--port", "0", "--offline"]
    command += ["--device", options.device, "--batch-size", str(options.batch_size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline().split()[1].rstrip("/").rpartition(":")[2])
            started = time.perf_counter()
            while _ask(port, "GET", "/readyz")[0] != 200:
                time.sleep(0.1)
            print(f"ready {time.perf_counter() - started:.1f} s after it listened")
            path = f"/v1/normals?mode={options.mode}"
            _load(port, path, photograph, 4, WARM_UP, server.pid)
            results = []
            for clients in rows:
                results.append(
                    _load(port, path, photograph, clients, options.requests // len(rows), server.pid)
                )
            counters = _ask(port, "GET", "/metrics")[1].decode()
        finally:
            server.terminate()
    _show(results)
    rss = [value for row in results for value in row["rss_mb"]]
    batches = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in counters.splitlines()
               if line.startswith("stablenormal_batch_photographs_")}  # fmt: skip
    record = {
        "rows": results,
        "rss_first_mb": rss[0],
        "rss_last_mb": rss[-1],
        "rss_highest_mb": max(rss),
        "batches": batches,
        "size": options.size,
        "mode": options.mode,
        "device": options.device,
        "batch_size": options.batch_size,
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }
    print(f"memory {rss[0]:.0f} MB at first, {max(rss):.0f} MB at most, {rss[-1]:.0f} MB at last")
    write_result(options.out, record, options.dirty)


def _photograph(size: int) -> bytes:
    buffer = io.BytesIO()
    Image.open(SAMPLE).resize((size, size)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _ask(port: int, method: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def _load(port: int, path: str, photograph: bytes, clients: int, requests: int, pid: int) -> dict[str, Any]:
    """Ask so many times, and measure."""
    seconds: list[float] = []
    statuses: Counter[int] = Counter()
    memory: list[float] = []
    lock = threading.Lock()
    left = requests

    def client() -> None:
        nonlocal left
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        while True:
            with lock:
                if left == 0:
                    break
                left -= 1
                if left % 50 == 0:
                    memory.append(_rss_mb(pid))
            asked = time.perf_counter()
            connection.request(
                "POST", path, photograph, {"Content-Type": "image/jpeg", "Accept": "image/png"}
            )
            response = connection.getresponse()
            body = response.read()
            taken = time.perf_counter() - asked
            with lock:
                seconds.append(taken)
                statuses[response.status if body else 0] += 1
        connection.close()

    before = _cpu_s(pid)
    started = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - started
    cuts = statistics.quantiles(seconds, n=100)
    return {
        "clients": clients,
        "requests": requests,
        "answered": statuses[200],
        "lost": requests - statuses[200],
        "per_second": len(seconds) / wall,
        "p50_s": cuts[49],
        "p95_s": cuts[94],
        "p99_s": cuts[98],
        "cpu_s_each": (_cpu_s(pid) - before) / requests,
        "rss_mb": memory,
    }


def _rss_mb(pid: int) -> float:
    """Memory of the service, where the system says it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return float("nan")
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _cpu_s(pid: int) -> float:
    """Seconds of processor time that the service has taken."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _show(rows: list[dict[str, Any]]) -> None:
    columns = ("clients", "requests", "lost", "per_second", "p50_s", "p95_s", "p99_s", "cpu_s_each")
    print("".join(f"{name:>12}" for name in columns))
    for row in rows:
        shown = (f"{row[name]:.3f}" if isinstance(row[name], float) else str(row[name]) for name in columns)
        print("".join(f"{text:>12}" for text in shown))


if __name__ == "__main__":
    main()
