{{- define "patina.labels" -}}
app.kubernetes.io/name: patina
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of one component. Call with (list $ "api"). */}}
{{- define "patina.selector" -}}
app.kubernetes.io/name: patina
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Call with (list $ "api"). */}}
{{- define "patina.image" -}}
{{- $root := index . 0 }}{{- $image := index $root.Values.images (index . 1) -}}
{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}
{{- end }}

{{- define "patina.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false # a Service named patina would set PATINA_ variables
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: tmp
    emptyDir: {}
  - name: data
    {{- if .Values.storage.existingClaim }}
    persistentVolumeClaim: {claimName: {{ .Values.storage.existingClaim }}}
    {{- else }}
    {{- $_ := required "Set storage.blobsUrl or storage.existingClaim." .Values.storage.blobsUrl }}
    emptyDir: {sizeLimit: {{ .Values.storage.scratchSize }}}
    {{- end }}
{{- end }}

{{- define "patina.container" -}}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: tmp, mountPath: /tmp}
  - {name: data, mountPath: /data}
envFrom:
  - secretRef: {name: {{ .Values.secretName }}}
{{- end }}

{{- define "patina.env" -}}
- name: PATINA_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: database-url}}
- name: PATINA_REDIS_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secretName }}, key: redis-url}}
- {name: PATINA_REQUIRE_TOKENS, value: "true"}
- {name: PATINA_LOG_JSON, value: "true"}
{{- with .Values.storage.blobsUrl }}
- {name: PATINA_BLOBS_URL, value: {{ . | quote }}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- end }}
