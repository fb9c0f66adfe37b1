import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from main import app, greet  # noqa: E402


class GreetTest(unittest.TestCase):
    def test_greets_by_name(self):
        self.assertEqual(greet("Ada"), "Hello, Ada!")

    def test_greets_the_world_without_a_name(self):
        self.assertEqual(greet(""), "Hello, world!")

    def test_serves_its_routes(self):
        self.assertEqual({route.rule for route in app.routes}, {"/", "/healthz"})


if __name__ == "__main__":
    unittest.main()
