"""The settings of a worker process: those of the test that started it."""

import json
import os

globals().update(json.loads(os.environ["PUSHERABLE_TEST_SETTINGS"]))
