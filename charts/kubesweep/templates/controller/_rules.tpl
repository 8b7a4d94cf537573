{{/* What the controller may do in a namespace that it serves: all that it does, nothing else. A test compares the API server's audit log with these. */}}
{{- define "kubesweep.rules" -}}
# The schedules that it serves. It never writes their spec or metadata, so it needs no update, no patch and no finalizer.
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules]
  verbs:
    - list # to start, and to find what was missed: deletions, mostly
    - watch # to hear of changes
- apiGroups: [kubesweep.dev]
  resources: [sweepschedules/status]
  verbs:
    - patch # to tell conditions, counts and history
# The workers of a schedule. They are deleted by the garbage collector, through their owner.
- apiGroups: [apps]
  resources: [deployments]
  verbs:
    - get # to see whether the object is ours before it is changed, and whether another release is still there
    - list # to start, and to find what was missed
    - watch # to put back what somebody deleted or edited, and to report pods that do not start
    - create # a new one begins with zero replicas; later the number is KEDA's
    - patch # server-side apply
- apiGroups: [apps]
  resources: [deployments/scale]
  verbs:
    - patch # the number of replicas where there is no KEDA
# The clock of a schedule.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs:
    - get # to see whether the object is ours before it is changed
    - list # to start, and to find what was missed
    - watch # to put back what somebody deleted or edited, and to see the ticks that never came
    - create # server-side apply of a new one
    - patch # server-side apply
    - delete # when spec.schedule becomes spec.every
# The size of a schedule.
- apiGroups: [keda.sh]
  resources: [scaledobjects, triggerauthentications]
  verbs:
    - get # to see whether the object is ours before it is changed, and what KEDA says of it
    - create # server-side apply of a new one
    - patch # server-side apply
# Why a worker does not start: ImagePullBackOff and the like are told by pods only.
- apiGroups: [""]
  resources: [pods]
  verbs:
    - list # those of one schedule, when its Deployment is not ready
# The login to the queue, for the workers of a namespace. The controller asks for none.
- apiGroups: [""]
  resources: [secrets]
  verbs:
    - create # cannot be limited to a name
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [kubesweep-queue]
  verbs:
    - patch # server-side apply; the answer shows the Secret, so that this one can be read
# Whether the namespace is the one that its login was made for: one that is made again gets another.
- apiGroups: [""]
  resources: [namespaces]
  verbs:
    - get # of each namespace that has a schedule
# Dead letters and other things that somebody should know.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs:
    - create # the first of a kind
    - patch # the count of the following ones
{{- end }}
