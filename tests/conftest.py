"""What every test runs under: nothing remembered from earlier runs, and no program found that a user would not find."""

import os
import sysconfig

from hypothesis import HealthCheck, settings

os.environ["DANDI_CACHE"] = "ignore"  # of the home folder, where results of earlier runs would hide a failure
_scripts = sysconfig.get_path("scripts")  # people call .venv/bin/dandify without activating .venv
os.environ["PATH"] = os.pathsep.join(p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if p != _scripts)

# A busy machine is no fault of what is tested.
settings.register_profile("dandify", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("dandify")
