"""Checks of the workflows that no public checker makes. Prints what is wrong; exits with 1 if anything is.

- The checks that .github/rulesets/main.json requires are the jobs that a pull request runs: one that no job reports
  blocks every merge, and a job that is not required holds up none.
- A pull request runs on machines of GitHub only, and may do nothing but read the contents of the repository.
"""

import json
import pathlib
import re
import sys

import yaml

github = pathlib.Path(__file__).resolve().parent.parent / ".github"
HOSTED = re.compile(r"ubuntu-\d\d\.04(-arm)?")


def jobs(workflow):
    return yaml.safe_load((github / "workflows" / workflow).read_text())["jobs"].items()


def variants(job):
    """The job once for each entry of its matrix, filled in."""
    for entry in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
        text = json.dumps(job)
        for key, value in entry.items():
            text = text.replace("${{ matrix.%s }}" % key, str(value))
        yield json.loads(text)


def run_by(workflow, prefix=""):
    """All jobs of a workflow and of those that it calls, by the names that GitHub shows."""
    for job_id, job in jobs(workflow):
        for variant in variants(job):
            name = prefix + variant.get("name", job_id)
            yield name, variant
            if "uses" in variant:
                yield from run_by(pathlib.Path(variant["uses"]).name, f"{name} / ")


wrong = []
run = dict(run_by("pull-request.yml"))

for name, job in run.items():
    if job.get("permissions") != {"contents": "read"}:
        wrong.append(f"{name}: a job of a pull request has other rights than contents: read")
    if "uses" not in job and not HOSTED.fullmatch(str(job["runs-on"])):
        wrong.append(f"{name}: a job of a pull request runs on {job['runs-on']}, which is no machine of GitHub")
    if "secrets." in json.dumps(job) or "secrets" in job:
        wrong.append(f"{name}: a job of a pull request uses secrets")

rules = json.loads((github / "rulesets" / "main.json").read_text())["rules"]
(checks,) = (rule["parameters"]["required_status_checks"] for rule in rules if rule["type"] == "required_status_checks")
required = {check["context"] for check in checks}
reported = {name for name, job in run.items() if "uses" not in job}
wrong += [f"rulesets/main.json does not require: {name}" for name in sorted(reported - required)]
wrong += [f"rulesets/main.json requires what no job is called: {name}" for name in sorted(required - reported)]

print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
sys.exit(bool(wrong))
