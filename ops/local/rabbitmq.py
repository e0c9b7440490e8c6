"""A private RabbitMQ node: own name, ports, cookie, data, log; no system service is touched."""

import base64
import contextlib
import http.client
import json
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from ops.local import processes
from ops.local.errors import LocalServerError, ServerNotFoundError

USER = "payouts"
START_S = 60.0
STOP_S = 20.0
REQUEST_S = 10.0

# RabbitMQ 3.10 writes the names of new quorum queues to disk up to a second late. Killed within
# it, the newest queue comes back empty and without a leader: consumers and confirms wait forever.
SETTLE_S = 1.5

GREETING = b"AMQP\x00\x00\x09\x01"

SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",  # Debian, RPM: not the one in sbin, which runs `su`.
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
)

# The management plugin costs no start time and makes a virtual host in milliseconds, where
# rabbitmqctl takes more than a second; its statistics are off, since they cost throughput.
CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{amqp_port}
management.tcp.ip = 127.0.0.1
management.tcp.port = {management_port}
management_agent.disable_metrics_collector = true
default_user = {user}
default_pass = {password}
disk_free_limit.absolute = 50MB
raft.wal_max_size_bytes = 67108864
log.console = false
log.file = server.log
log.file.level = info
"""


class RabbitMQ:
    """One private node in `folder`, which it owns: start, stop, kill, start again.

    Ports and data stay the same over restarts. User `payouts` with a random password, kept in the
    files `password` and `rabbitmq.conf`, both readable for their owner alone.
    """

    def __init__(self, folder: Path, *, mark: Path, ports: tuple[int, int, int, int]) -> None:
        self.port, self.management_port, self._dist_port, self._epmd_port = ports
        self.log = folder / "log" / "server.log"
        self.node = f"payouts-{self.port}@localhost"
        self._folder = folder
        self._mark = mark
        self._process: subprocess.Popen[bytes] | None = None
        self._names: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Makes folders, password and configuration."""
        for name in ("home", "data", "log"):
            (self._folder / name).mkdir(parents=True)
        password = secrets.token_urlsafe(24)
        self._write("password", password)
        self._write("enabled_plugins", "[rabbitmq_management].\n")
        self._write(
            "rabbitmq.conf",
            CONFIGURATION.format(
                amqp_port=self.port,
                management_port=self.management_port,
                user=USER,
                password=password,
            ),
        )

    def start(self) -> None:
        """Returns when the node takes connections; on the data that is there.

        Raises:
            ServerNotFoundError: RabbitMQ is not installed.
            LocalServerError: It does not start; with the end of its log.
        """
        script, epmd = find_script(), find_epmd()
        environment = self.environment()
        output = self._folder / "log" / "output.log"
        self._names = processes.start(
            [epmd, "-port", str(self._epmd_port), "-address", "127.0.0.1"],
            folder=self._mark,
            log=output,
            environment=environment,
        )
        self._process = processes.start(
            [script], folder=self._mark, log=output, environment=environment
        )
        processes.wait_until(
            self._is_ready, what="Starting RabbitMQ", within_s=START_S, log=self.log
        )

    @property
    def running(self) -> bool:
        """Says whether the server that was started here is still there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pids(self) -> tuple[int, ...]:
        """Gives the processes that were started here: the node and its name server."""
        started = (self._process, self._names)
        return tuple(process.pid for process in started if process is not None)

    def stop(self) -> None:
        """Shuts down in order; does nothing where nothing runs."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the node as a power cut would; `start` then recovers what was confirmed."""
        time.sleep(SETTLE_S)
        self._end(signal.SIGKILL)

    def discard(self) -> None:
        """Kills the node at once, where its data is of no more use."""
        self._end(signal.SIGKILL)

    def let_go(self) -> None:
        """Leaves the node to live on after this process."""
        for process in (self._process, self._names):
            processes.let_go(process)

    def url(self, vhost: str = "/") -> str:
        """Gives the AMQP address of one virtual host, with user and password."""
        return f"amqp://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def create_vhost(self, name: str) -> str:
        """Makes an empty virtual host and gives its AMQP address."""
        self.call("PUT", f"/api/vhosts/{quote(name, safe='')}")
        # On 3.10 its creator has no rights in a virtual host until they are given.
        self.call(
            "PUT",
            f"/api/permissions/{quote(name, safe='')}/{USER}",
            {"configure": ".*", "write": ".*", "read": ".*"},
        )
        return self.url(name)

    def drop_vhost(self, name: str) -> None:
        """Removes a virtual host with all that is in it; one that is not there is no error."""
        self.call("DELETE", f"/api/vhosts/{quote(name, safe='')}")

    def call(self, method: str, path: str, body: object = None) -> object:
        """Calls the node's management API and gives the decoded answer, None where it is empty.

        Raises:
            LocalServerError: The answer is an error other than 404.
        """
        token = base64.b64encode(f"{USER}:{self._password()}".encode()).decode()
        headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.management_port, timeout=REQUEST_S
        )
        with contextlib.closing(connection):
            connection.request(method, path, json.dumps(body or {}), headers)
            answer = connection.getresponse()
            text = answer.read()
        if answer.status >= http.client.BAD_REQUEST and answer.status != http.client.NOT_FOUND:
            raise LocalServerError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text) if text else None

    def environment(self) -> dict[str, str]:
        """Gives what the node's own tools need to find it, such as `rabbitmqctl`."""
        folder = self._folder
        return {
            **processes.plain_environment(),
            "HOME": str(folder / "home"),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "no-such-file.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_MAX_NUMBER_OF_PROCESSES": "131072",
            "RABBITMQ_MAX_NUMBER_OF_ATOMS": "1048576",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            # The script then becomes the node instead of watching over it: one process, our child.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _password(self) -> str:
        return (self._folder / "password").read_text(encoding="ascii")

    def _write(self, name: str, content: str) -> None:
        path = self._folder / name
        path.touch(mode=0o600)
        path.write_text(content, encoding="utf-8")

    def _is_ready(self) -> bool:
        if not self.running:
            output = self._folder / "log" / "output.log"
            raise LocalServerError(
                f"RabbitMQ ended at once.{processes.tail(self.log)}{processes.tail(output)}"
            )
        return _greets(self.port) and _listens(self.management_port)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        names, self._names = self._names, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if names is not None:
            names.kill()
            names.wait()


def find_script() -> Path:
    """Finds the program that starts a node as whoever calls it.

    Raises:
        ServerNotFoundError: RabbitMQ is not installed.
    """
    for candidate in (*SCRIPTS, _which("rabbitmq-server")):
        if candidate is not None and Path(candidate).exists():
            return Path(candidate)
    raise ServerNotFoundError("rabbitmq-server")


def find_epmd() -> Path:
    """Finds Erlang's name server, which each node needs.

    Raises:
        ServerNotFoundError: Erlang is not installed, or at an unknown place.
    """
    known = sorted(Path("/usr/lib").glob("erlang*/erts-*/bin/epmd"))
    known += sorted(Path("/usr/lib64").glob("erlang*/erts-*/bin/epmd"))
    on_path = _which("epmd")
    if on_path is not None:
        return Path(on_path)
    if known:
        return known[-1]
    raise ServerNotFoundError("epmd (it comes with Erlang)")


def _which(name: str) -> str | None:
    return shutil.which(name, path=processes.plain_environment()["PATH"])


def _greets(port: int) -> bool:
    """Says whether a node answers the AMQP greeting; it does so only when it is wholly up."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(GREETING)
            return re.match(rb"\x01\x00\x00", connection.recv(8)) is not None
    except OSError:
        return False


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False
