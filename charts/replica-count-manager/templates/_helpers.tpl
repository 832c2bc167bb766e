{{/* The name of the chart, truncated to the maximum length of a label. */}}
{{- define "rcm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of all objects. 52 characters leave room for suffixes: the longest is "-server-tls". */}}
{{- define "rcm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that never change, because a Deployment's selector cannot. */}}
{{- define "rcm.identity" -}}
app.kubernetes.io/name: {{ include "rcm.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The labels that select the server's pod, but not the test's. */}}
{{- define "rcm.selectorLabels" -}}
{{ include "rcm.identity" . }}
app.kubernetes.io/component: server
{{- end -}}

{{- define "rcm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "rcm.identity" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object: (list $ "-suffix" annotations), or with labels: (list $ "-suffix" annotations labels). */}}
{{- define "rcm.metadata" -}}
{{- $root := index . 0 -}}
{{- $labels := dict -}}
{{- if gt (len .) 3 -}}{{- $labels = index . 3 | default dict -}}{{- end -}}
name: "{{ include "rcm.fullname" $root }}{{ index . 1 }}"
namespace: {{ $root.Release.Namespace | quote }}
labels:
  {{- merge (include "rcm.labels" $root | fromYaml) $labels | toYaml | nindent 2 }}
{{- with merge (dict) (index . 2) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rcm.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "rcm.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "rcm.image" -}}
{{- with dig "imageRegistry" "" (default dict .Values.global) }}{{ . }}/{{ end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The Secrets for the registry, in YAML; empty if there are none. A dependency gets those of its parent, too. */}}
{{- define "rcm.imagePullSecrets" -}}
{{- with concat (default list .Values.imagePullSecrets) (dig "imagePullSecrets" list (default dict .Values.global) | default list) | uniq -}}
{{ toYaml . }}
{{- end -}}
{{- end -}}

{{/* The security context of pods, in YAML. OpenShift refuses users that do not belong to the namespace, and chooses one if
there is none. */}}
{{- define "rcm.podSecurityContext" -}}
{{- $mode := dig "compatibility" "openshift" "adaptSecurityContext" "auto" (default dict .Values.global) -}}
{{- if or (eq $mode "force") (and (eq $mode "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}
{{- omit .Values.podSecurityContext "runAsUser" "runAsGroup" "fsGroup" | toYaml -}}
{{- else -}}
{{- toYaml .Values.podSecurityContext -}}
{{- end -}}
{{- end -}}

{{- define "rcm.claimName" -}}
{{- default (include "rcm.fullname" .) .Values.persistence.existingClaim -}}
{{- end -}}

{{/* The Secret that the server mounts. */}}
{{- define "rcm.serverSecret" -}}
{{- if eq .Values.tls.source "existingSecret" -}}
{{- .Values.tls.existingSecret.server -}}
{{- else -}}
{{- include "rcm.fullname" . -}}-server-tls
{{- end -}}
{{- end -}}

{{/* The client's Secret; empty if there is none. */}}
{{- define "rcm.clientSecret" -}}
{{- if eq .Values.tls.source "existingSecret" -}}
{{- .Values.tls.existingSecret.client -}}
{{- else if .Values.tls.client.create -}}
{{- include "rcm.fullname" . -}}-client-tls
{{- end -}}
{{- end -}}

{{/* The keys of a Secret with a pair and a CA, as a dict in JSON. */}}
{{- define "rcm.secretKeys" -}}
{{- if eq .Values.tls.source "existingSecret" -}}
{{- with .Values.tls.existingSecret -}}
{{- dict "certificate" .certificateKey "privateKey" .privateKeyKey "ca" .caKey | toJson -}}
{{- end -}}
{{- else -}}
{{- dict "certificate" "tls.crt" "privateKey" "tls.key" "ca" "ca.crt" | toJson -}}
{{- end -}}
{{- end -}}

{{/* The server's DNS names, in YAML. */}}
{{- define "rcm.dnsNames" -}}
{{- $name := include "rcm.fullname" . -}}
{{- $names := list "localhost" $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- concat $names .Values.tls.dnsNames | uniq | toYaml -}}
{{- end -}}

{{- define "rcm.ipAddresses" -}}
{{- concat (list "127.0.0.1" "::1") .Values.tls.ipAddresses | uniq | toYaml -}}
{{- end -}}

{{/* Refuses client certificates that could not be made, or that the server would refuse. */}}
{{- define "rcm.validateClients" -}}
{{- $isMade := ne .Values.tls.source "existingSecret" -}}
{{- $users := dict -}}
{{- if .Values.tls.client.create -}}
{{- $_ := set $users "tls.client.user" .Values.tls.client.user -}}
{{- end -}}
{{- $names := list -}}
{{- range $n, $client := .Values.tls.clients -}}
{{- if has .name $names -}}
{{- fail (printf "tls.clients has two clients named %s: give each a name of its own, which is part of its Secret's." .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- $_ := set $users (printf "tls.clients[%d].user" $n) .user -}}
{{- if and .groups (ne $.Values.tls.source "cert-manager") -}}
{{- fail (printf "tls.clients[%d].groups needs tls.source=cert-manager: Helm can make certificates with a user, but without groups. Bind roles to the user instead." $n) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.tls.clients (not $isMade) -}}
{{- fail "tls.clients needs tls.source=helm or cert-manager: with existingSecret, the chart makes no certificates." -}}
{{- end -}}
{{- range $key, $user := $users -}}
{{- if and $isMade (not (regexMatch "^[^,=+<>#;\"\\\\]{1,64}$" $user)) -}}
{{- fail (printf "%s must have 1 to 64 characters, and none of , = + < > # ; \" \\" $key) -}}
{{- end -}}
{{- if and $isMade (eq (include "rcm.authorizationMode" $) "rbac") (hasPrefix "system:" $user) -}}
{{- fail (printf "%s begins with system:, which belongs to Kubernetes and is refused with authorization.mode=rbac: choose another name." $key) -}}
{{- end -}}
{{- end -}}
{{- if and (include "rcm.clientCASecret" .) $isMade $users -}}
{{- fail "tls.clientCA names another CA for clients, which would refuse the client certificates that this chart makes: set tls.client.create to false, and tls.clients to nothing." -}}
{{- end -}}
{{- end -}}

{{/* Refuses invalid combinations of values. Single values are checked by values.schema.json. */}}
{{- define "rcm.validate" -}}
{{- $isFile := eq (include "rcm.store" .) "file" -}}
{{- if and $isFile (gt (int .Values.replicas) 1) -}}
{{- fail "replicas must be 0 or 1 with store=file: only one server may use the file. With store=crd there may be more." -}}
{{- end -}}
{{- $type := dig "type" "" (default dict .Values.strategy) -}}
{{- if and $isFile $type (ne $type "Recreate") -}}
{{- fail "strategy.type must be Recreate with store=file: a new server can only start after the old one has ended." -}}
{{- end -}}
{{- $hooks := default dict (include "rcm.lifecycle" . | fromYaml) -}}
{{- $sleep := (default dict (default dict $hooks.preStop).sleep).seconds | int -}}
{{- $least := add 20 $sleep -}}
{{- if lt (int .Values.terminationGracePeriodSeconds) (int $least) -}}
{{- fail (printf "terminationGracePeriodSeconds must be %d or more: the hook preStop sleeps %d seconds of it, requests in flight get 10 seconds, then queued changes are written." $least $sleep) -}}
{{- end -}}
{{- if and .Values.persistence.existingClaim (not .Values.persistence.enabled) -}}
{{- fail "persistence.existingClaim is set, but persistence.enabled is false: set it to true, or remove the claim." -}}
{{- end -}}
{{- if and (eq .Values.tls.source "existingSecret") (not .Values.tls.existingSecret.server) -}}
{{- fail "tls.source is existingSecret, but tls.existingSecret.server is empty: set it to the Secret with the server's certificate." -}}
{{- end -}}
{{- if and (ne .Values.tls.source "existingSecret") (or .Values.tls.existingSecret.server .Values.tls.existingSecret.client) -}}
{{- fail (printf "tls.existingSecret names a Secret, but tls.source is %s: set it to existingSecret, or remove the Secret." .Values.tls.source) -}}
{{- end -}}
{{- if and (ne .Values.tls.source "cert-manager") .Values.tls.certManager.issuerRef.name -}}
{{- fail (printf "tls.certManager.issuerRef names an issuer, but tls.source is %s: set it to cert-manager, or remove the issuer." .Values.tls.source) -}}
{{- end -}}
{{- include "rcm.validateClients" . -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not (include "rcm.metricsService" .)) (not .Values.service.http.enabled) -}}
{{- fail "metrics.serviceMonitor.enabled needs metrics.service.enabled, or metrics.podMonitor instead: Prometheus finds the metrics through a Service." -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (dig "podMonitor" "enabled" false .Values.metrics) -}}
{{- fail "metrics.serviceMonitor and metrics.podMonitor are both enabled, so everything would be scraped twice: choose one." -}}
{{- end -}}
{{- if and .Values.service.http.enabled (eq (int .Values.service.port) (int .Values.service.http.port)) -}}
{{- fail "service.port and service.http.port are the same: choose different ports." -}}
{{- end -}}
{{- if and (dig "secret" "" (default dict .Values.notifications)) (not (include "rcm.notifyConfig" .)) -}}
{{- fail "notifications.secret is set, but notifications.config is empty: set receivers and routes, or remove the Secret." -}}
{{- end -}}
{{- if has .Values.config.namespace .Values.config.excludeNamespaces -}}
{{- fail (printf "config.namespace is %s, which config.excludeNamespaces excludes: nothing would be managed." .Values.config.namespace) -}}
{{- end -}}
{{- end -}}

{{/* Whether the metrics have a Service of their own; otherwise empty. An upgrade with --reuse-values from a chart without
this value keeps what that one had. */}}
{{- define "rcm.metricsService" -}}
{{- if dig "service" "enabled" false .Values.metrics -}}
true
{{- end -}}
{{- end -}}

{{/* The collector of traces; empty if there is none. An upgrade with --reuse-values from a chart without this value has
none. */}}
{{- define "rcm.tracesEndpoint" -}}
{{- dig "endpoint" "" (default dict .Values.traces) -}}
{{- end -}}

{{/* The metadata of an object for other programs, perhaps in their namespace: (list $ "-suffix" values). Its own labels
come first. */}}
{{- define "rcm.foreignMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index . 2 -}}
name: "{{ include "rcm.fullname" $root }}{{ index . 1 }}"
namespace: {{ default $root.Release.Namespace $values.namespace | quote }}
labels:
  {{- merge (dict) (default dict $values.labels) (include "rcm.labels" $root | fromYaml) | toYaml | nindent 2 }}
{{- with merge (dict) (default dict $values.annotations) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a ServiceMonitor and a PodMonitor have in common: how an endpoint is scraped. */}}
{{- define "rcm.endpoint" -}}
{{- $root := index . 0 -}}
{{- with index . 1 -}}
port: http
path: /metrics
interval: {{ default "30s" .interval }}
scrapeTimeout: {{ default "10s" .scrapeTimeout }}
{{- if dig "targets" "enabled" false $root.Values.metrics }}
# A workload keeps its own namespace as a label.
honorLabels: true
{{- end }}
{{- with .relabelings }}
relabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .metricRelabelings }}
metricRelabelings:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
{{- end -}}

{{/* How a new pod replaces the old one: only servers without a file can run side by side. */}}
{{- define "rcm.strategy" -}}
{{- if .Values.strategy -}}
{{- toYaml .Values.strategy -}}
{{- else if eq (include "rcm.store" .) "file" -}}
type: Recreate
{{- else -}}
type: RollingUpdate
rollingUpdate:
  maxUnavailable: 0
  maxSurge: 1
{{- end -}}
{{- end -}}

{{/* The hooks of the container. Others answer while a server ends, but its Service sends it new connections until every
node knows that it ends. With the file there is no other, so the sooner it ends, the sooner it is back. */}}
{{- define "rcm.lifecycle" -}}
{{- if .Values.lifecycle -}}
{{- toYaml .Values.lifecycle -}}
{{- else if eq (include "rcm.store" .) "crd" -}}
preStop:
  sleep:
    seconds: 5
{{- end -}}
{{- end -}}

{{/* The managed kinds, as a JSON array. An upgrade with --reuse-values from a chart without this value keeps what that
one managed. */}}
{{- define "rcm.kinds" -}}
{{- default (list "deployments") .Values.config.kinds | toJson -}}
{{- end -}}

{{/* The address of both ports. An upgrade with --reuse-values from a chart without this value gets the default. */}}
{{- define "rcm.listenAddress" -}}
{{- default "[::]" .Values.config.listenAddress -}}
{{- end -}}

{{/* The name of objects that belong to the whole cluster, and so must be unique in it. It is also the name of the guard:
of its policies, and of its object in each namespace. */}}
{{- define "rcm.clusterName" -}}
{{- $name := include "rcm.fullname" . -}}
{{- if ne $name .Release.Namespace -}}
{{- $name = printf "%s-%s" .Release.Namespace $name -}}
{{- end -}}
{{- $name -}}
{{- end -}}

{{/* The mode of the guard. An upgrade with --reuse-values from a chart without it has no such value: then it stays off.
YAML reads an unquoted `off` as false. */}}
{{- define "rcm.guardMode" -}}
{{- $mode := dig "mode" "off" (default dict .Values.guard) | toString -}}
{{- if or (eq $mode "false") (and (eq $mode "auto") .Values.config.namespace) -}}
off
{{- else -}}
{{- $mode -}}
{{- end -}}
{{- end -}}

{{/* Whether the API server can correct counts; otherwise empty. `helm template` does not see a cluster: the kinds that it
knows are Helm's, whatever --kube-version says. */}}
{{- define "rcm.guardCorrects" -}}
{{- if and (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy") (semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version) -}}
true
{{- end -}}
{{- end -}}

{{/* Where the counts are kept. An upgrade with --reuse-values from a chart without this value keeps the file. */}}
{{- define "rcm.store" -}}
{{- default "file" .Values.store -}}
{{- end -}}

{{/* What keeps others from writing who set a count: stamp, forbid or none. Only ReplicaCounts need it. The policies are for
the whole cluster, so none is chosen for a server with rights in one namespace, nor by an upgrade with --reuse-values from a
chart without this value. */}}
{{- define "rcm.authorPolicy" -}}
{{- $policy := dig "policy" "none" (default dict .Values.authors) -}}
{{- if eq (include "rcm.store" .) "file" -}}
none
{{- else if ne $policy "auto" -}}
{{ $policy }}
{{- else if .Values.config.namespace -}}
none
{{- else -}}
{{ ternary "stamp" "forbid" (eq (include "rcm.guardCorrects" .) "true") }}
{{- end -}}
{{- end -}}

{{/* Who decides what clients may do. An upgrade with --reuse-values from a chart without it has no such value: then
everything stays allowed. */}}
{{- define "rcm.authorizationMode" -}}
{{- $mode := dig "mode" "always-allow" (default dict .Values.authorization) -}}
{{- if ne $mode "auto" -}}
{{- $mode -}}
{{- else -}}
{{- ternary "always-allow" "rbac" (ne .Values.config.namespace "") -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the CA of the clients; empty if the CA of the server signs them, too. */}}
{{- define "rcm.clientCASecret" -}}
{{- dig "clientCA" "secret" "" .Values.tls -}}
{{- end -}}

{{/* Whether what happens is told by Events of Kubernetes. An upgrade with --reuse-values from a chart without this value
grants no new rights. */}}
{{- define "rcm.events" -}}
{{- dig "enabled" false (default dict .Values.events) -}}
{{- end -}}

{{/* Receivers and routes of notifications, in YAML; empty if none are sent. */}}
{{- define "rcm.notifyConfig" -}}
{{- with dig "config" dict (default dict .Values.notifications) -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{/* The ports of the receivers of notifications, as a JSON array: of each URL, and 443 where it is in a file. */}}
{{- define "rcm.notifyPorts" -}}
{{- $ports := list -}}
{{- range dig "config" "receivers" list (default dict .Values.notifications) -}}
{{- range $destination := values (omit . "name") -}}
{{- $url := urlParse (default "https://file" $destination.url) -}}
{{- $port := regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) -}}
{{- $ports = append $ports (int (default (ternary 80 443 (eq $url.scheme "http")) $port)) -}}
{{- end -}}
{{- end -}}
{{- $ports | uniq | toJson -}}
{{- end -}}

{{/* The environment of the server. */}}
{{- define "rcm.settings" -}}
GRPC_ADDRESS: "{{ include "rcm.listenAddress" . }}:8080"
HTTP_ADDRESS: "{{ include "rcm.listenAddress" . }}:8081"
STORE: {{ include "rcm.store" . }}
{{- if eq (include "rcm.store" .) "file" }}
FILE_PATH: /mnt/replicas.json
{{- else }}
AUTHOR_POLICY: {{ include "rcm.authorPolicy" . }}
LEASE_NAMESPACE: {{ .Release.Namespace | quote }}
LEASE_NAME: {{ include "rcm.fullname" . | quote }}
{{- with default dict .Values.lease }}
LEASE_DURATION: {{ dig "duration" "15s" . | quote }}
LEASE_RENEW_DEADLINE: {{ dig "renewDeadline" "10s" . | quote }}
LEASE_RETRY_PERIOD: {{ dig "retryPeriod" "2s" . | quote }}
{{- end }}
{{- end }}
CERT_FILE: /certificates/server.crt
KEY_FILE: /certificates/server.key
CA_CERT_FILE: /certificates/ca.crt
{{- if include "rcm.clientCASecret" . }}
CLIENT_CA_FILE: /client-ca/ca.crt
{{- end }}
AUTHORIZATION_MODE: {{ include "rcm.authorizationMode" . }}
NAMESPACE: {{ .Values.config.namespace | quote }}
ENFORCEMENT: {{ .Values.config.enforcement }}
EXCLUDE_NAMESPACES: {{ join "," .Values.config.excludeNamespaces | quote }}
KINDS: {{ include "rcm.kinds" . | fromJsonArray | join "," | quote }}
OWN_WORKLOAD: {{ printf "%s/%s" .Release.Namespace (include "rcm.fullname" .) | quote }}
MAX_REPLICAS: {{ int64 .Values.config.maxReplicas | quote }}
HISTORY_PER_TARGET: {{ dig "historyPerTarget" 100 .Values.config | int64 | quote }}
HISTORY_BYTES: {{ dig "historyBytes" 16777216 .Values.config | int64 | quote }}
KUBERNETES_EVENTS: {{ include "rcm.events" . | quote }}
{{- if include "rcm.notifyConfig" . }}
NOTIFY_CONFIG: /notify/notify.yaml
{{- end }}
{{- if dig "targets" "enabled" false .Values.metrics }}
TARGET_METRICS: "true"
TARGET_METRICS_LIMIT: {{ dig "targets" "limit" 1000 .Values.metrics | int64 | quote }}
{{- end }}
{{- with include "rcm.tracesEndpoint" . }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ dig "protocol" "http/protobuf" $.Values.traces }}
{{- end }}
LOG_LEVEL: {{ .Values.config.logLevel | quote }}
LOG_LEVEL_FILE: /log-level/level
LOG_FORMAT: {{ .Values.config.logFormat }}
GUARD: {{ include "rcm.guardMode" . | quote }}
{{- if ne (include "rcm.guardMode" .) "off" }}
GUARD_NAME: {{ include "rcm.clusterName" . }}
GUARD_HOW: {{ dig "how" "" .Values.guard | default (printf "SetDeployment of %s" (include "rcm.clusterName" .)) | quote }}
{{- end }}
{{- end -}}
