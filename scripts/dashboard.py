#!/usr/bin/env python3
"""Prints the Grafana dashboard of the chart. `make dashboard` writes it to the chart; CI checks that it is current.

Grafana 10 or newer, and Prometheus. A test of the server checks that every query uses metrics and labels that it has.
"""

import json

SELECTOR = 'namespace=~"$namespace", job=~"$job"'
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24


def metric(name, *matchers):
    """A metric of the chosen servers."""
    prefix = "" if name.startswith("grpc_") else "replica_count_manager_"
    return f"{prefix}{name}{{{', '.join([SELECTOR, *matchers])}}}"


def rate(name, *matchers, by=""):
    by = f" by ({by})" if by else ""
    return f"sum{by} (rate({metric(name, *matchers)}[$__rate_interval]))"


def quantile(q, name, *matchers, by=""):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(f'{name}_bucket', *matchers, by=by)})"


def biggest(name):
    """Of several servers, the ones that do not enforce may show 0."""
    return f"max({metric(name)})"


def panel(kind, title, targets, width, height=7, unit="short", description="", **more):
    queries = [
        {"refId": chr(ord("A") + index), "expr": expr, "legendFormat": legend, "datasource": SOURCE}
        | ({"instant": True, "range": False} if kind in ("stat", "table") else {})
        | ({"format": "table"} if kind == "table" else {})
        for index, (expr, legend) in enumerate(targets)
    ]
    defaults = {"unit": unit, "min": 0} | more.pop("defaults", {})
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": SOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": queries,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    } | more


def graph(title, targets, width=8, **more):
    return panel("timeseries", title, targets, width, **more)


def stat(title, expr, width=4, warn=None, legend="", **more):
    steps = [{"color": "green", "value": None}]
    if warn is not None:
        steps.append({"color": "orange", "value": warn})
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}}
    options = {"colorMode": "value", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return panel("stat", title, [(expr, legend)], width, 4, defaults=defaults, options=options, **more)


# The namespace of these is that of the workload (honorLabels), so it does not choose the server.
NOT_AS_DESIRED = 'replica_count_manager_target_info{job=~"$job", state!="InSync"}'
AWAY = 'replica_count_manager_target_current{job=~"$job"} - replica_count_manager_target_desired{job=~"$job"} != 0'

ROWS = {
    "Overview": [
        stat("Workloads with a stored count", biggest("store_settings")),
        stat("Contested", biggest("contested_targets"), warn=1, description="Somebody keeps changing their count"),
        stat("Autoscaled", biggest("autoscaled_targets"), warn=1),
        stat("Kept by the guard", biggest("guarded_targets")),
        stat("Age of what is known", biggest("watch_stale_seconds"), warn=60, unit="s"),
        stat(
            "Credentials refused for",
            biggest("kubernetes_unauthenticated_seconds"),
            warn=1,
            unit="s",
        ),
    ],
    "Drift": [
        graph(
            "Drifts and repairs",
            [(rate("drifts_total"), "drifts"), (rate("repairs_total"), "repairs"), (rate("pods_lost_total"), "pods lost")],
            unit="ops",
        ),
        graph(
            "From drift to repair",
            [(quantile(q, "drift_repair_seconds"), f"p{round(q * 100)}") for q in (0.5, 0.99)]
            + [(quantile(0.99, "write_seconds"), "p99 of the write")],
            unit="s",
        ),
        graph("Failed writes", [(rate("write_failures_total", by="reason"), "{{reason}}")], unit="ops"),
        graph(
            "Conflicts",
            [(biggest("contested_targets"), "contested"), (biggest("steady_conflicts"), "steady")],
            width=12,
        ),
        graph(
            "Queue",
            [(biggest("queued_targets"), "workloads"), (biggest("queue_oldest_seconds"), "seconds of the oldest")],
            width=12,
        ),
    ],
    "API server": [
        graph("Requests", [(rate("kubernetes_requests_total", by="verb, resource"), "{{verb}} {{resource}}")], unit="reqps"),
        graph(
            "Requests by status",
            [(rate("kubernetes_requests_total", by="code"), "{{code}}")],
            unit="reqps",
            description="`none` is a request without an answer",
        ),
        graph(
            "Broken watches",
            [
                (rate("watch_interruptions_total", by="reason"), "Deployments: {{reason}}"),
                (rate("statefulset_watch_interruptions_total", by="reason"), "StatefulSets: {{reason}}"),
                (rate("autoscaler_watch_interruptions_total", by="reason"), "autoscalers: {{reason}}"),
            ],
            unit="ops",
        ),
    ],
    "gRPC": [
        graph("RPCs", [(rate("grpc_server_started_total", by="grpc_method"), "{{grpc_method}}")], unit="reqps"),
        graph(
            "RPCs that failed",
            [(rate("grpc_server_handled_total", 'grpc_code!="OK"', by="grpc_method, grpc_code"), "{{grpc_method}} {{grpc_code}}")],
            unit="reqps",
        ),
        graph(
            "p99 of RPCs",
            [(quantile(0.99, "grpc_server_handling_seconds", 'grpc_type="unary"', by="grpc_method"), "{{grpc_method}}")],
            unit="s",
        ),
        graph(
            "Connections and streams",
            [(f"sum({metric('connections_open')})", "connections"), (f"sum({metric('watch_streams')})", "streams")],
        ),
        graph("Refused connections", [(rate("connections_refused_total", by="reason"), "{{reason}}")], unit="ops"),
        graph("Requests refused by a limit", [(rate("requests_refused_total", by="reason"), "{{reason}}")], unit="ops"),
    ],
    "Store": [
        graph("Changes", [(rate("store_commits_total"), "stored"), (rate("store_commit_failures_total", by="reason"), "{{reason}}")], unit="ops"),
        graph("p99 of a change", [(quantile(0.99, "store_commit_seconds"), "p99")], unit="s"),
        graph("History", [(biggest("history_bytes"), "bytes")], unit="bytes"),
        graph(
            "Who enforces",
            [(f"max by (pod) ({metric('leader')})", "{{pod}}"), (f"max({metric('lease_held')})", "the Lease is held")],
            width=12,
            description="With `store: crd`",
        ),
        graph(
            "Notifications",
            [
                (rate("notifications_sent_total", by="service"), "{{service}}"),
                (rate("notifications_failed_total", by="service"), "{{service}} given up"),
                (rate("notifications_dropped_total", by="service"), "{{service}} not tried"),
            ],
            width=12,
            unit="ops",
            description="With `notifications.config`",
        ),
        graph(
            "What was not recorded",
            [
                (rate("unreported_events_total"), "events"),
                (rate("log_lines_dropped_total"), "log lines"),
                (rate("history_write_failures_total"), "writes of the history"),
            ],
            width=12,
            unit="ops",
        ),
    ],
    "Guard": [
        graph(
            "Namespaces",
            [
                (biggest(f"guard_{state}_namespaces"), state)
                for state in ("active", "inactive", "suspended", "contested")
            ],
            width=12,
        ),
        graph(
            "Guards written",
            [(rate("guard_writes_total"), "written"), (rate("guard_write_failures_total"), "failed"), (rate("guard_drifts_total"), "changed by others")],
            width=12,
            unit="ops",
        ),
    ],
    "Certificates and versions": [
        stat(
            "Certificates expire in",
            f"min by (certificate) ({metric('certificate_expiration_timestamp_seconds')}) - time()",
            width=12,
            legend="{{certificate}}",
            unit="s",
        ),
        stat("Servers", f"count by (version) ({metric('build_info')})", width=12, legend="{{version}}"),
    ],
    "Workloads (with --target-metrics)": [
        panel("table", "Not as desired", [(f"max by (kind, namespace, name, state) ({NOT_AS_DESIRED})", "")], 12, 10),
        graph(
            "Replicas away from the desired count",
            [(AWAY, "{{kind}} {{namespace}}/{{name}}")],
            width=12,
            height=10,
            defaults={"min": None},
        ),
    ],
}


def layout(rows):
    """Panels with their places, from left to right."""
    panels, y = [], 0
    for title, members in rows.items():
        panels.append({"type": "row", "title": title, "collapsed": False, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}, "panels": []})
        x, y, height = 0, y + 1, 0
        for member in members:
            place = member["gridPos"]
            if x + place["w"] > WIDTH:
                x, y = 0, y + height
            place |= {"x": x, "y": y}
            x, height = x + place["w"], place["h"]
            panels.append(member)
        y += height
    return [{"id": number, **member} for number, member in enumerate(panels, 1)]


def variable(name, query):
    return {
        "name": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        # Also what has no such label.
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


BUILD = "replica_count_manager_build_info"

DASHBOARD = {
    "uid": "replica-count-manager",
    "title": "Replica Count Manager",
    "tags": ["kubernetes", "replicas"],
    "schemaVersion": 39,
    "editable": True,
    "refresh": "30s",
    "time": {"from": "now-6h", "to": "now"},
    "timezone": "",
    "templating": {
        "list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
            variable("namespace", f"label_values({BUILD}, namespace)"),
            variable("job", f'label_values({BUILD}{{namespace=~"$namespace"}}, job)'),
        ]
    },
    "annotations": {"list": []},
    "links": [],
    "panels": layout(ROWS),
}

if __name__ == "__main__":
    print(json.dumps(DASHBOARD, indent=1))
