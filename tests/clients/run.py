"""Runs the client tests: real SDKs, through a real gateway with conf/quickstart.yaml, to a real engine and to the fake upstream.

    scripts/clients             gateways in between; the binary is $TOLLGATE_BIN, else the debug build
    scripts/clients --direct    no gateway: shows that the tests themselves hold against the upstreams

What the suites get, as environment:
    ENGINE_URL, FAKE_URL, FORCED_URL   where clients connect: in front of the engine, of the fake upstream, and of an engine
                                       whose every answer is FORCED_TEXT
    KINDS_URL                          an engine whose every answer holds one value of each of KINDS
    BARE_ENGINE_URL, BARE_KINDS_URL    the engines themselves: what they say before any gateway has seen it
    FAKE_CONTROL                       the fake upstream itself: scripts, gates, ledger
    CLIENT_KEY                         the API key
    TOLLGATE_BIN                       for tests of upstream faults, which start gateways of their own: breakers and back-off
                                       would make the shared one refuse what other tests ask
    DIRECT                             set with --direct: what only a gateway does is skipped
"""

import os
import pathlib
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
BINARY = os.environ.get("TOLLGATE_BIN", str(TARGET / "tollgate"))
FORCED_TEXT = "My email is jane.doe@corp.com, write soon"
# One value of each kind that the built-in rules find.
KINDS = {
    "email": "alice.liddell@corp-secret.com",
    "phone": "+1 415 867 5309",
    "ssn": "536-22-8726",
    "credit_card": "4111 1111 1111 1111",
    "ip_address": "93.184.216.34",
    "iban": "DE89 3704 0044 0532 0130 00",
    "secret": "ghp_q8Zr2LmX0vT5bNc7KpWd3HsYfJ6gRa1uEo9i",
}


def sentence(kind):
    return f"It is {KINDS[kind]} then. "


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Processes:
    """What this run started, and where its output went. All of it ends with the run."""

    def __init__(self, folder):
        self.folder = folder
        self.running = []

    def start(self, name, command, health, **environment):
        log = self.folder / f"{name}.log"
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | environment, cwd=ROOT)
        self.running.append(process)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                urllib.request.urlopen(health, timeout=5).close()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise RuntimeError(f"{name} did not come up; its output:\n{log.read_text(errors='replace')[-4000:]}")

    def engine(self, name, *arguments):
        port = free_port()
        command = [ROOT / "scripts/engine", "--port", str(port), "--seconds", "900", *arguments]
        self.start(name, command, f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def fake(self):
        port = free_port()
        command = [TARGET / "tollgate-fake-upstream", "--listen", f"127.0.0.1:{port}", "--seconds", "900"]
        self.start("fake", command, f"http://127.0.0.1:{port}/health")
        return f"http://127.0.0.1:{port}"

    def gateway(self, name, upstream, key):
        port, admin = free_port(), free_port()
        self.start(
            f"gateway-{name}",
            [BINARY, "serve", "-c", "conf/quickstart.yaml"],
            f"http://127.0.0.1:{port}/health",
            LISTEN=f"127.0.0.1:{port}",
            ADMIN=f"127.0.0.1:{admin}",
            STATE_DIR=str(self.folder / f"state-{name}"),
            TOLLGATE_KEY=key,
            UPSTREAM=upstream,
        )
        return f"http://127.0.0.1:{port}"

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
        for process in reversed(self.running):
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def suites(environment):
    """Exit codes of the Python and the Node suite."""
    # The SDKs must use what they are given here, not what the caller's shell holds for them.
    theirs = ("OPENAI_", "ANTHROPIC_", "LANGSMITH_", "LANGCHAIN_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)} | environment
    python = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE / "python")]
    node = [str(pathlib.Path(sys.executable).parent / "node"), "--test", "--test-reporter=spec", "--test-timeout=120000"]
    node += sorted(str(path) for path in (HERE / "node").glob("*.test.mjs"))
    return [subprocess.run(command, env=environment, cwd=ROOT).returncode for command in (python, node)]


def main():
    direct = "--direct" in sys.argv
    key = "client-tests-" + secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="tollgate-clients-") as folder:
        processes = Processes(pathlib.Path(folder))
        try:
            engine = processes.engine("engine")
            forced = processes.engine("forced", "--grammar", f'root ::= "{FORCED_TEXT}"')
            every = "".join(map(sentence, KINDS))
            kinds = processes.engine("kinds", "--grammar", f'root ::= "{every}"')
            fake = processes.fake()
            through = (lambda name, url: url) if direct else (lambda name, url: processes.gateway(name, url, key))
            environment = {
                "ENGINE_URL": through("engine", engine),
                "FORCED_URL": through("forced", forced),
                "KINDS_URL": through("kinds", kinds),
                "BARE_ENGINE_URL": engine,
                "BARE_KINDS_URL": kinds,
                "FAKE_URL": through("fake", fake),
                "FAKE_CONTROL": fake,
                "FORCED_TEXT": FORCED_TEXT,
                "CLIENT_KEY": key,
                "TOLLGATE_BIN": BINARY,
                "LANGSMITH_TRACING": "false", "AI_SDK_LOG_WARNINGS": "false",
                "PYTHONDONTWRITEBYTECODE": "1",
            }
            if direct:
                environment["DIRECT"] = "1"
            codes = suites(environment)
            if any(codes) and os.environ.get("KEEP_LOGS"):
                for log in sorted(processes.folder.glob("*.log")):
                    print(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}")
        finally:
            processes.stop()
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
