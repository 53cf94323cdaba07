"""What every test runs under: nothing remembered from earlier runs, and no program found that a user would not find."""

import os
import sysconfig

os.environ["DANDI_CACHE"] = "ignore"  # of the home folder, where results of earlier runs would hide a failure
_scripts = sysconfig.get_path("scripts")  # people call .venv/bin/dandify without activating .venv
os.environ["PATH"] = os.pathsep.join(p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != _scripts)
