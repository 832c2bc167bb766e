{{/*
Certificates of tls.source=helm. Functions that make keys give others at each call, and several templates need the same,
so the first call keeps what it made in .Values.made. What the cluster has is kept: the CA always, a pair as long as it
is of that CA, for the same names and not in the last third of its life.
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
{{- /* A name of its own: else a client of an earlier CA would look like one with a forged signature. */ -}}
{{- $ca = genCAWithKey (printf "%s CA %s" $name (randAlphaNum 8 | lower)) (int .Values.tls.helm.caValidityDays) (genPrivateKey "ecdsa") -}}
{{- $caNotAfter = include "rcm.notAfter" .Values.tls.helm.caValidityDays -}}
{{- end -}}
{{- $server := include "rcm.makePair" (list $ $ca "server-tls" $name (include "rcm.ipAddresses" . | fromYamlArray) (include "rcm.dnsNames" . | fromYamlArray)) | fromJson -}}
{{- $client := dict -}}
{{- if .Values.tls.client.create -}}
{{- $client = include "rcm.makePair" (list $ $ca "client-tls" .Values.tls.client.user list list) | fromJson -}}
{{- end -}}
{{- $_ := set .Values "made" (dict "ca" (dict "Cert" $ca.Cert "Key" $ca.Key "notAfter" $caNotAfter) "server" $server "client" $client) -}}
{{- end -}}
{{- end -}}

{{/* A pair as JSON, the one in the cluster if it will do: (list root ca suffix user ips names). */}}
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

{{/* Changes when the server must read its certificates anew. Where others make them, as far as they are known now. */}}
{{- define "rcm.certificateChecksum" -}}
{{- if eq .Values.tls.source "helm" -}}
{{- include "rcm.makeCertificates" . -}}
{{- printf "%s%s" .Values.made.ca.Cert .Values.made.server.Cert | sha256sum -}}
{{- else -}}
{{- $secret := lookup "v1" "Secret" .Release.Namespace (include "rcm.serverSecret" .) -}}
{{- dig "data" dict ($secret | default dict) | toJson | sha256sum -}}
{{- end -}}
{{- end -}}
