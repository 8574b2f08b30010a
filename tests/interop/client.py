"""A client of the published Python SDK, at the command of another program (see drive).

    client.py URL    reads lines {"call": NAME, ...} of JSON and answers each with one line {"result": …} or {"error": TYPE}
"""

import json
import sys
from datetime import datetime

from dbos import DBOSClient, DebouncerClient, WorkflowSerializationFormat

PORTABLE = WorkflowSerializationFormat.PORTABLE
client = DBOSClient(system_database_url=sys.argv[1])


def debounce(name, queue, key, period, value):
    options = {"workflow_name": name, "queue_name": queue, "serialization_type": PORTABLE}
    return DebouncerClient(client, options).debounce(key, period, value).workflow_id


def enqueue(name, queue, args, **options):
    options.update({"workflow_name": name, "queue_name": queue})
    if options.pop("portable", True):
        options["serialization_type"] = PORTABLE
    return client.enqueue(options, *args).workflow_id


def schedule(name):
    row = client.get_schedule(name)
    return row and {key: row[key] for key in ("schedule_name", "workflow_name", "schedule", "status", "context", "cron_timezone",
                                              "queue_name", "application_name")}


def backfill(name, start, end):
    return [h.workflow_id for h in client.backfill_schedule(name, datetime.fromisoformat(start), datetime.fromisoformat(end))]


def status(id):
    row = client.retrieve_workflow(id).get_status()
    return {"status": row.status, "name": row.name, "args": list(row.input["args"]), "output": row.output, "queue": row.queue_name,
            "priority": row.priority, "deduplication_id": row.deduplication_id, "partition": row.queue_partition_key,
            "attributes": row.attributes, "forked_from": row.forked_from, "user": row.authenticated_user,
            "roles": row.authenticated_roles, "version": row.app_version, "timeout_ms": row.workflow_timeout_ms}


CALLS = {
    "debounce": debounce,
    "enqueue": enqueue,
    "result": lambda id: client.retrieve_workflow(id).get_result(polling_interval_sec=0.05),
    "status": status,
    "list": lambda **filters: [w.workflow_id for w in client.list_workflows(**filters)],
    "queued": lambda **filters: [w.workflow_id for w in client.list_queued_workflows(**filters)],
    "steps": lambda id: [[s["function_id"], s["function_name"]] for s in client.list_workflow_steps(id)],
    "send": lambda id, message, topic: client.send(id, message, topic, serialization_type=PORTABLE),
    "event": lambda id, key: client.get_event(id, key, 30),
    "cancel": lambda id: client.cancel_workflow(id),
    "resume": lambda id: client.resume_workflow(id).workflow_id,
    "fork": lambda id, step: client.fork_workflow(id, step).workflow_id,
    "create_schedule": lambda **options: client.create_schedule(**options),
    "schedule": schedule,
    "schedules": lambda prefix: sorted(s["schedule_name"] for s in client.list_schedules(schedule_name_prefix=prefix)),
    "backfill": backfill,
    "trigger": lambda name: client.trigger_schedule(name).workflow_id,
    "delete_schedule": lambda name: client.delete_schedule(name),
    "versions": lambda: [v["version_name"] for v in client.list_application_versions()],
    "latest": lambda: client.get_latest_application_version()["version_name"],
    "queue": lambda name: (lambda q: q and {"worker_concurrency": q.worker_concurrency, "concurrency": q.global_concurrency,
                                            "partition_concurrency": q.partition_concurrency})(client.retrieve_queue(name)),
}

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"result": CALLS[request.pop("call")](**request)}
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error)}
    print(json.dumps(answer), flush=True)
client.destroy()
