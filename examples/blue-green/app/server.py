"""A web page that says which version it is."""

import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = os.environ.get("VERSION", "1")
# Break this, and the next version is never shown to anybody.
HEALTHY = True


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(200 if HEALTHY else 503, "fine" if HEALTHY else "not fine")
        else:
            self.answer(200, f"version {VERSION}")

    def answer(self, status, text):
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256


# The first process of a container ends only if it says so; by now the proxy sends it nothing any more.
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
Server(("0.0.0.0", 8080), Handler).serve_forever()
