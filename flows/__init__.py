"""What runs when, and what happens when something fails; the only folder that imports prefect."""

import os

# Prefect reads these when it is first imported. A user's own settings win.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
