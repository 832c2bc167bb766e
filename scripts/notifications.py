"""Receives the example of each receiver over HTTPS, and checks it. Run by lint-notifications.sh."""

import http.server
import json
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from slack_sdk.models.blocks import Block
from standardwebhooks import Webhook

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONFIG = """
links:
  - {text: Dashboard, url: "https://grafana.example.com/d/rcm?var-name={name}"}
receivers:
  - {name: slack, slack: {urlFile: url, caFile: certificate}}
  - {name: webhook, webhook: {urlFile: url, caFile: certificate, signingKeyFile: key}}
routes:
  - {name: slack, receiver: slack}
  - {name: webhook, receiver: webhook}
"""

received = []


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        received.append((dict(self.headers.items()), body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def serve(folder: Path) -> str:
    """Starts a server with a certificate of its own; returns its URL."""
    certificate, key = folder / "certificate", folder / "private-key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", certificate]
        + ["-addext", "basicConstraints=critical,CA:FALSE"],
        check=True,
        capture_output=True,
    )
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"https://localhost:{server.server_port}/secret"


def check_slack(body: bytes):
    message = json.loads(body)
    blocks = Block.parse_all(message["blocks"])
    assert len(blocks) == len(message["blocks"]) and None not in blocks, "a block is not known"
    for block in blocks:
        block.validate_json()
        for part in [getattr(block, "text", None), *getattr(block, "elements", [])]:
            if part is not None:
                part.validate_json()
    # What the package has understood is what was sent.
    assert [block.to_dict() for block in blocks] == message["blocks"], "a block has more than Slack knows"


def check_webhook(headers: dict, body: bytes):
    headers = {name.lower(): value for name, value in headers.items()}
    Webhook(KEY).verify(body, headers)
    # The constructor checks the attributes by the specification.
    event = from_http(HTTPMessage(headers=headers, body=body), JSONFormat(), CloudEvent)
    assert event.get_id() == headers["webhook-id"]
    assert event.get_subject() == "shop/deployment/web"
    assert event.get_data()["total"] == len(event.get_data()["events"])


def main(program: str):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "url").write_text(serve(folder))
        (folder / "key").write_text(KEY)
        (folder / "notify.yaml").write_text(CONFIG)
        for route in ["slack", "webhook"]:
            command = [program, "notify", "--notify-config", folder / "notify.yaml", "--test", route]
            subprocess.run(command, check=True)
    [(_, slack), (headers, webhook)] = received
    check_slack(slack)
    check_webhook(headers, webhook)
    print("Slack's blocks, the CloudEvent and its signature are valid.")


if __name__ == "__main__":
    main(sys.argv[1])
