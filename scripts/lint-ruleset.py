"""Fails unless the checks that .github/rulesets/main.json requires are the jobs that a pull request runs.

A required check that no job reports blocks every merge, and a job that is not required holds up none.
"""

import itertools
import json
import pathlib
import sys

import yaml

github = pathlib.Path(__file__).resolve().parent.parent / ".github"


def names(job_id, job):
    """The names that GitHub shows for a job: one for each entry of its matrix."""
    name = job.get("name", job_id)
    include = job.get("strategy", {}).get("matrix", {}).get("include", [{}])
    for entry in include:
        shown = name
        for key, value in entry.items():
            shown = shown.replace("${{ matrix.%s }}" % key, str(value))
        yield shown


def workflow(name):
    return yaml.safe_load((github / "workflows" / name).read_text())["jobs"].items()


run = set()
for job_id, job in workflow("pull-request.yml"):
    if "uses" in job:
        called = (names(*inner) for inner in workflow(pathlib.Path(job["uses"]).name))
        run |= {f"{job.get('name', job_id)} / {name}" for name in itertools.chain.from_iterable(called)}
    else:
        run |= set(names(job_id, job))

rules = json.loads((github / "rulesets" / "main.json").read_text())["rules"]
(checks,) = (rule["parameters"]["required_status_checks"] for rule in rules if rule["type"] == "required_status_checks")
required = {check["context"] for check in checks}

for name in sorted(run - required):
    print(f"rulesets/main.json does not require: {name}", file=sys.stderr)
for name in sorted(required - run):
    print(f"rulesets/main.json requires what no job of a pull request is called: {name}", file=sys.stderr)
sys.exit(run != required)
