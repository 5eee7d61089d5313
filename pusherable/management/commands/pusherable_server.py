import asyncio
import contextlib
import errno
import ipaddress
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from pusherable.conf import conf

if TYPE_CHECKING:
    from aiohttp import web

DEFAULT_PORT = 6001
IN_PRODUCTION = "For production use Pusher Channels, or host soketi, sockudo or Laravel Reverb yourself."


class Command(BaseCommand):
    help = (
        "Runs a local server that speaks the Pusher protocol, for development and tests, with the app id, "
        f"key and secret of your settings. {IN_PRODUCTION}"
    )
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="Address to bind (default: %(default)s).")
        parser.add_argument(
            "--port",
            type=int,
            help=f"Port to bind (default: PUSHER_PORT, or {DEFAULT_PORT} if it is not set).",
        )
        parser.add_argument(
            "--webhook",
            metavar="URL",
            help="Where to send webhooks, as Pusher does, for example "
            "http://127.0.0.1:8000/pusherable/webhook/ (default: nowhere).",
        )

    def handle(self, *, host: str, port: int | None, webhook: str | None, **_options: Any) -> None:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            message = "The local server needs aiohttp: pip install django-pusherable[server]"
            raise CommandError(message) from error
        if not conf.has_credentials:
            raise CommandError(
                "There are no credentials yet, and for a local server any will do. "
                'Write PUSHER_APP_ID = "1", PUSHER_KEY = "local-key" and PUSHER_SECRET = "local-secret" '
                "in your settings."
            )
        if port is None:
            port = conf.PUSHER_PORT or DEFAULT_PORT
        app = self._app(webhook)
        try:
            # Where the loop has no signal handlers (Windows), Ctrl-C ends asyncio.run in this way.
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(self._serve(app, host, port))
        except (OSError, OverflowError) as error:
            hint = ""
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                hint = " Is the server running already? Otherwise choose another port with --port."
            raise CommandError(f"Cannot listen on {host}:{port}: {error}.{hint}") from error

    def _app(self, webhook: str | None) -> "web.Application":
        from pusherable.server.app import create_app
        from pusherable.server.channels import Change
        from pusherable.server.protocol import Credentials, Event
        from pusherable.server.webhooks import Webhooks

        def show(event: Event) -> None:
            self.stdout.write(f"{event.name} -> {', '.join(event.channels)}")

        def show_sent(changes: Sequence[Change]) -> None:
            told = ", ".join(" ".join(change.event.values()) for change in changes)
            self.stdout.write(f"{told} -> {webhook}")

        def show_failure(problem: str) -> None:
            self.stderr.write(self.style.WARNING(problem))

        credentials = Credentials(str(conf.PUSHER_APP_ID), str(conf.PUSHER_KEY), str(conf.PUSHER_SECRET))
        webhooks = None
        if webhook is not None:
            try:
                webhooks = Webhooks(credentials, webhook, on_sent=show_sent, on_failure=show_failure)
            except ValueError as error:
                raise CommandError(f"--webhook: {error}") from error
        return create_app(credentials, on_event=show, webhooks=webhooks)

    async def _serve(self, app: "web.Application", host: str, port: int) -> None:
        from pusherable.server.app import serving

        stopping = asyncio.Event()
        async with serving(app, host, port) as bound_port:
            with contextlib.suppress(NotImplementedError):
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, stopping.set)
            self._introduce(host, bound_port)
            await stopping.wait()
        self.stdout.write("Stopped.")

    def _introduce(self, host: str, port: int) -> None:
        if not _is_loopback(host):
            self.stderr.write(
                self.style.WARNING(
                    f"{host} can be reached from other machines. This server is made for development: "
                    "it has no TLS and no limits on connections."
                )
            )
        address = f"{f'[{host}]' if ':' in host else host}:{port}"
        self.stdout.write(
            f"Pusher-compatible server for development and tests, app {conf.PUSHER_APP_ID}.\n"
            f"{IN_PRODUCTION}\n"
            f"WebSocket: ws://{address}/app/{conf.PUSHER_KEY}\n"
            f"HTTP API:  http://{address}/apps/{conf.PUSHER_APP_ID}/"
        )
        if not conf.PUSHER_HOST or conf.port != port or conf.PUSHER_SSL:
            # A server that listens on every address is reached by one of them.
            reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
            if ":" in reachable:
                reachable = f"[{reachable}]"
            self.stdout.write(
                "Your settings do not send events here yet. Write "
                f'PUSHER_HOST = "{reachable}", PUSHER_PORT = {port} and PUSHER_SSL = False.'
            )
        self.stdout.write("Quit with Ctrl-C.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
