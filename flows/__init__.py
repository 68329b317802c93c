"""What runs when, and what happens when something fails; the only folder that imports prefect."""

import os

os.environ.setdefault("DO_NOT_TRACK", "true")  # Prefect reads it when it is first imported
