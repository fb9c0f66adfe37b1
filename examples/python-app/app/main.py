"""A small web application that greets."""

import os
from wsgiref.simple_server import make_server

from bottle import Bottle, request

app = Bottle()


def greet(name: str) -> str:
    return f"Hello, {name or 'world'}!"


@app.get("/")
def index() -> str:
    return greet(request.query.name) + "\n"


@app.get("/healthz")
def healthz() -> str:
    return "ok\n"


if __name__ == "__main__":
    make_server("0.0.0.0", int(os.environ.get("PORT", "8080")), app).serve_forever()
