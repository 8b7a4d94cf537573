"""The program of `helm test`: waits until its SweepSchedule has swept its one row, and prints the progress.

Standard library only: it runs in the controller's image, but must not depend on the controller's code.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"
NAMESPACE = os.environ["SWEEP_NAMESPACE"]
NAME = os.environ["SWEEP_NAME"]
SECONDS = float(os.environ["SWEEP_TIMEOUT"])


def schedule():
    """The SweepSchedule from the API server; None if it cannot be read."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    url = f"https://{host}:{port}/apis/kubesweep.dev/v1alpha1/namespaces/{NAMESPACE}/sweepschedules/{NAME}"
    with open(f"{TOKEN}/token") as token:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token.read()}"})
    try:
        with urllib.request.urlopen(
            request, context=ssl.create_default_context(cafile=f"{TOKEN}/ca.crt"), timeout=10
        ) as answer:
            return json.load(answer)
    except (urllib.error.URLError, TimeoutError) as error:
        print(f"the API server: {error}")
        return None


def summary(status):
    """One line for each condition, and one for the last sweep."""
    lines = [
        f"{condition['type']}={condition['status']} {condition.get('reason', '')}: {condition.get('message', '')}"
        for condition in status.get("conditions", [])
    ]
    sweep = status.get("lastSweep")
    if sweep:
        lines.append("sweep " + " ".join(f"{key}={value}" for key, value in sweep.items()))
    return lines


def main():
    began, seen = time.monotonic(), set()
    while time.monotonic() - began < SECONDS:
        status = (schedule() or {}).get("status", {})
        for line in summary(status):
            if line not in seen:
                seen.add(line)
                print(f"{time.monotonic() - began:5.1f} s  {line}", flush=True)
        sweep = status.get("lastSweep") or {}
        if sweep.get("state") == "Completed":
            if sweep.get("applied") != 1:
                sys.exit("the sweep completed, but did not write its row")
            print(f"{time.monotonic() - began:5.1f} s  one row swept: API server, controller, queue, worker, database")
            return
        if sweep.get("state") in ("Failed", "Halted"):
            sys.exit(f"the sweep ended {sweep['state']}: see above")
        time.sleep(1)
    sys.exit(
        f"no row was swept in {SECONDS:.0f} s. Read the conditions above, then run\n"
        f"  kubectl --namespace {NAMESPACE} describe sweep {NAME}\n"
        f"  kubectl --namespace {NAMESPACE} get pods -l kubesweep.dev/schedule={NAME}"
    )


main()
