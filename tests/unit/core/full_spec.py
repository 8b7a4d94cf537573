"""A spec with every field, and its plan."""

from __future__ import annotations

from typing import Any

import yaml

from kubesweep import Plan, SweepSchedule, compile_plan

FULL = """
apiVersion: kubesweep.dev/v1alpha1
kind: SweepSchedule
metadata: {name: process-idle-conversations, namespace: support, labels: {team: support}}
spec:
  schedule: "*/5 * * * *"
  timeZone: America/Sao_Paulo
  startingDeadlineSeconds: 300
  suspend: false
  mode: DryRun
  source:
    urlFrom: {secretKeyRef: {name: support-db, key: url}}
    schema: public
    table: conversations
    key: [id]
    lockTimeout: 200ms
    statementTimeout: 20s
    naiveTimeZone: America/Sao_Paulo
  match:
    - {column: status, in: [pending, progress]}
    - {column: expires_at, before: now}
    - {column: updated_at, before: now-30m}
    - {column: deleted_at, isNull: true}
    - {column: closed_at, isNull: false}
    - {sql: "t.channel <> 'vip'"}
  effect:
    columns: [id, from_number, session_key]
    concurrency: 30
    timeout: 15s
    handler: support.sweeps:close_idle
  write:
    update: [{column: status, value: expired}, {column: closed_at, sql: "now()"}]
  limits: {batchRows: 500, batchTime: 300ms, rowsPerSecond: 5000, maxRowsPerSweep: 1000000, approveAbove: {rows: 50000}}
  retry: {maxAttempts: 6, backoff: 3s, maxBackoff: 10m}
  deadLetters: {retention: 48h, haltAbove: 2000}
  worker:
    image: registry/app:1
    minReplicas: 1
    maxReplicas: 8
    jobsPerReplica: 20
    concurrency: 3
    cooldown: 90s
    resources: {limits: {memory: 256Mi, cpu: 1}}
    env: [{name: A, value: b}]
    envFrom: [{configMapRef: {name: app}}]
    podTemplate: {spec: {nodeSelector: {disk: ssd}, tolerations: null}}
"""


def compiled(text: str = FULL, **options: Any) -> Plan:
    return compile_plan(SweepSchedule.model_validate(yaml.safe_load(text)), **options)
