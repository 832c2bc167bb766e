{{/*
Certificates for tls.source=helm. Functions that generate keys return new ones on each call, but several templates need
the same ones, so the first call stores them in .Values.made. What is already in the cluster is kept: always the CA, and
a pair if it has this CA and the same names, and is not in the last third of its validity.
*/}}
{{- define "rcm.makeCertificates" -}}
{{- if not (hasKey .Values "made") -}}
{{- $name := include "rcm.fullname" . -}}
{{- $old := lookup "v1" "Secret" .Release.Namespace (printf "%s-ca" $name) -}}
{{- $ca := dict -}}
{{- $caNotAfter := "" -}}
{{- if $old -}}
{{- $ca = buildCustomCert (index $old.data "tls.crt") (index $old.data "tls.key") -}}
{{- $caNotAfter = dig "metadata" "annotations" "replicacount.dev/not-after" "" $old -}}
{{- else -}}
{{- include "rcm.refuseWithoutLookup" . -}}
{{- /* A unique name: otherwise a client of an earlier CA would look like one with a forged signature. */ -}}
{{- $ca = genCAWithKey (printf "%s CA %s" $name (randAlphaNum 8 | lower)) (int .Values.tls.helm.caValidityDays) (genPrivateKey "ecdsa") -}}
{{- $caNotAfter = include "rcm.notAfter" .Values.tls.helm.caValidityDays -}}
{{- end -}}
{{- $server := include "rcm.makePair" (list $ $ca "server-tls" $name (include "rcm.ipAddresses" . | fromYamlArray) (include "rcm.dnsNames" . | fromYamlArray)) | fromJson -}}
{{- $pairs := dict "server-tls" $server -}}
{{- if .Values.tls.client.create -}}
{{- $_ := set $pairs "client-tls" (include "rcm.makePair" (list $ $ca "client-tls" .Values.tls.client.user list list) | fromJson) -}}
{{- end -}}
{{- range .Values.tls.clients -}}
{{- $suffix := printf "client-%s-tls" .name -}}
{{- $_ := set $pairs $suffix (include "rcm.makePair" (list $ $ca $suffix .user list list) | fromJson) -}}
{{- end -}}
{{- $_ := set .Values "made" (dict "ca" (dict "Cert" $ca.Cert "Key" $ca.Key "notAfter" $caNotAfter) "server" $server "pairs" $pairs) -}}
{{- end -}}
{{- end -}}

{{/* A pair as JSON, the one in the cluster if still usable: (list root ca suffix user ips names). */}}
{{- define "rcm.makePair" -}}
{{- $root := index . 0 -}}
{{- $ca := index . 1 -}}
{{- $user := index . 3 -}}
{{- $ips := index . 4 | default list -}}
{{- $names := index . 5 | default list -}}
{{- $days := int $root.Values.tls.helm.validityDays -}}
{{- $for := list $user $ips $names $days | toJson | sha256sum | trunc 16 -}}
{{- $old := lookup "v1" "Secret" $root.Release.Namespace (printf "%s-%s" (include "rcm.fullname" $root) (index . 2)) -}}
{{- $notAfter := dig "metadata" "annotations" "replicacount.dev/not-after" "" $old -}}
{{- $keep := false -}}
{{- if and $old $notAfter -}}
{{- $left := sub (toDate "2006-01-02T15:04:05Z07:00" $notAfter | unixEpoch) (now | unixEpoch) -}}
{{- $keep = and (gt (mul $left 3) (mul $days 86400)) (eq (index $old.data "ca.crt" | b64dec) $ca.Cert) (eq (dig "metadata" "annotations" "replicacount.dev/certificate-for" "" $old) $for) -}}
{{- end -}}
{{- if $keep -}}
{{- dict "Cert" (index $old.data "tls.crt" | b64dec) "Key" (index $old.data "tls.key" | b64dec) "notAfter" $notAfter "for" $for | toJson -}}
{{- else -}}
{{- $pair := genSignedCertWithKey $user $ips $names $days $ca (genPrivateKey "ecdsa") -}}
{{- dict "Cert" $pair.Cert "Key" $pair.Key "notAfter" (include "rcm.notAfter" $days) "for" $for | toJson -}}
{{- end -}}
{{- end -}}

{{- define "rcm.notAfter" -}}
{{- dateInZone "2006-01-02T15:04:05Z07:00" (now | dateModify (printf "+%dh" (mul 24 (int .)))) "UTC" -}}
{{- end -}}

{{/*
Refuses to make a new CA where the old one may be in the cluster and cannot be seen: every client would need a new
certificate. An upgrade sees at least the ServiceAccount that each namespace has, unless it renders without a cluster. Argo CD
always does, and calls it an installation. An installation sees the ServiceAccount, too, unless it makes the namespace
(--create-namespace). Only then it looks for the API server itself, in a namespace that not everybody may read.
*/}}
{{- define "rcm.refuseWithoutLookup" -}}
{{- if not (dig "helm" "allowNewWithoutLookup" false .Values.tls) -}}
{{- if and .Release.IsUpgrade (not (lookup "v1" "ServiceAccount" .Release.Namespace "default")) -}}
{{- fail "tls.source=helm keeps certificates by reading them from the cluster, and this upgrade does not see the cluster (helm template, or a dry run on the client): it would make a new CA. Use tls.source=cert-manager or existingSecret, or --dry-run=server for a dry run, or set tls.helm.allowNewWithoutLookup to have new certificates." -}}
{{- end -}}
{{- if .Capabilities.APIVersions.Has "argoproj.io/v1alpha1/Application" -}}
{{- if not (or (lookup "v1" "ServiceAccount" .Release.Namespace "default") (lookup "v1" "Service" "default" "kubernetes")) -}}
{{- fail "tls.source=helm would make a new CA with each sync of Argo CD, which renders without the cluster. Use tls.source=cert-manager or existingSecret, or set tls.helm.allowNewWithoutLookup to have new certificates." -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
