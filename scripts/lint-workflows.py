"""Checks the workflows beyond what public linters do. Prints problems, and exits with 1 if there are any.

- The checks required by .github/rulesets/main.json must be exactly the jobs of a pull request: a check without a job
  would block every merge, and a job without a check would block none.
- Jobs of a pull request must run on GitHub-hosted runners, and may only read the contents of the repository.
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
    """Yields the job for each entry of its matrix."""
    for entry in job.get("strategy", {}).get("matrix", {}).get("include", [{}]):
        text = json.dumps(job)
        for key, value in entry.items():
            text = text.replace("${{ matrix.%s }}" % key, str(value))
        yield json.loads(text)


def run_by(workflow, prefix=""):
    """Yields all jobs of a workflow and of the workflows it calls, with the names that GitHub shows."""
    for job_id, job in jobs(workflow):
        for variant in variants(job):
            name = prefix + variant.get("name", job_id)
            yield name, variant
            if "uses" in variant:
                yield from run_by(pathlib.Path(variant["uses"]).name, f"{name} / ")


problems = []
run = dict(run_by("pull-request.yml"))

for name, job in run.items():
    if job.get("permissions") != {"contents": "read"}:
        problems.append(f"{name}: a job of a pull request must have exactly the permission contents: read")
    if "uses" not in job and not HOSTED.fullmatch(str(job["runs-on"])):
        problems.append(f"{name}: a job of a pull request runs on {job['runs-on']}, not on a GitHub-hosted runner")
    if "secrets." in json.dumps(job) or "secrets" in job:
        problems.append(f"{name}: a job of a pull request must not use secrets")

rules = json.loads((github / "rulesets" / "main.json").read_text())["rules"]
(checks,) = (rule["parameters"]["required_status_checks"] for rule in rules if rule["type"] == "required_status_checks")
required = {check["context"] for check in checks}
reported = {name for name, job in run.items() if "uses" not in job}
problems += [f"rulesets/main.json does not require: {name}" for name in sorted(reported - required)]
problems += [f"rulesets/main.json requires a check without a job: {name}" for name in sorted(required - reported)]

print("\n".join(problems), file=sys.stderr, end="\n" if problems else "")
sys.exit(bool(problems))
