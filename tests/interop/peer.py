"""One side of the interoperability tests, in Python (see run, and docs/wire/interop.md).

    peer.py serve URL         an application on the database; prints READY when its first workflows have ended
    peer.py check URL PEER    a client that inspects and drives the application of PEER there
"""

import signal
import sys
import time
import uuid

from dbos import DBOS, DBOSClient, DebouncerClient, SetWorkflowID, WorkflowSerializationFormat
from dbos import error as dbos_error

ME = "python"
PORTABLE = WorkflowSerializationFormat.PORTABLE


class CardDeclined(Exception):
    pass


@DBOS.step(name="reserve")
def reserve(cents):
    return cents


@DBOS.step(name="charge")
def charge(order_id):
    return "charge-" + order_id


@DBOS.workflow(name="label", serialization_type=PORTABLE)
def label(id):
    return "label-" + id


@DBOS.workflow(name="order", serialization_type=PORTABLE)
def order(id, cents):
    total = reserve(cents)
    paid = charge(id)
    with SetWorkflowID(id + "-label"):
        child = DBOS.start_workflow(label, id)
    return {"id": id, "total": total, "charge": paid, "label": child.get_result()}


@DBOS.workflow(name="declined", serialization_type=PORTABLE)
def declined(id):
    reserve(1)
    raise CardDeclined("card declined: " + id)


@DBOS.workflow(name="echo", serialization_type=PORTABLE)
def echo(value):
    return value


@DBOS.workflow(name="slow", serialization_type=PORTABLE)
def slow(seconds):
    DBOS.sleep(seconds)
    return "slept"


def serve(url):
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    DBOS(config={"name": "interop", "system_database_url": url, "application_version": "interop-1", "log_level": "WARNING"})
    DBOS.launch()
    DBOS.register_queue("interop")
    with SetWorkflowID(ME + "-order"):
        DBOS.start_workflow(order, ME + "-order", 4200).get_result()
    with SetWorkflowID(ME + "-declined"):
        try:
            DBOS.start_workflow(declined, ME + "-declined").get_result()
        except Exception:
            pass
    print("READY", flush=True)
    while not stop:
        time.sleep(0.1)
    DBOS.destroy()


# --- the checks -----------------------------------------------------------------------------------------------------

failures = 0


def check(name, got, expected):
    global failures
    if got == expected:
        print(f"ok      {name}")
    else:
        failures += 1
        print(f"not ok  {name}\n          got      {got!r}\n          expected {expected!r}")


def describe(error):
    return (getattr(error, "name", None) or type(error).__name__, getattr(error, "message", None) or str(error))


def outcome(handle):
    try:
        return handle.get_result()
    except Exception as error:
        return describe(error)


VALUES = [
    None, True, False, 0, -1, 2**53 - 1, 0.5, -1e-7, 1e21, "", "plain", "Grüße, 世界 \U0001f600", 'quote " backslash \\ line\nend',
    [], {}, [1, [2, [3]]], {"a": {"b": [None, {"c": ""}]}, "": 0},
]


def check_history(client, peer):
    rows = {w.workflow_id: w for w in client.list_workflows(workflow_id_prefix=peer + "-")}
    whole = rows[peer + "-order"]
    expected = {"id": peer + "-order", "total": 4200, "charge": f"charge-{peer}-order", "label": f"label-{peer}-order"}
    check("list: ids", sorted(rows), [f"{peer}-declined", f"{peer}-order", f"{peer}-order-label"])
    check("list: status and name", (whole.status, whole.name), ("SUCCESS", "order"))
    check("list: input", list(whole.input["args"]), [peer + "-order", 4200])
    check("list: output", whole.output, expected)
    check("list: parent", rows[peer + "-order-label"].parent_workflow_id, peer + "-order")
    refused = rows[peer + "-declined"]
    check("list: failed", (refused.status, describe(refused.error)), ("ERROR", ("CardDeclined", f"card declined: {peer}-declined")))

    steps = client.list_workflow_steps(peer + "-order")
    names = [s["function_name"] for s in steps]
    check("steps: names", names, ["reserve", "charge", "label", "DBOS.getResult"])
    # TypeScript writes step results in its own format, also in portable workflows: text that nobody else decodes.
    readable = peer in ("cpp", ME)
    check("steps: outputs", [s["output"] if readable else type(s["output"]) for s in steps][:2],
          [4200, f"charge-{peer}-order"] if readable else [str, str])
    check("steps: child", [s["child_workflow_id"] for s in steps][2], peer + "-order-label")
    check("steps: times", all(s["started_at_epoch_ms"] <= s["completed_at_epoch_ms"] for s in steps[:2]), True)

    check("result: of a finished workflow", outcome(client.retrieve_workflow(peer + "-order")), expected)
    check("result: of a failed workflow", outcome(client.retrieve_workflow(peer + "-declined")),
          ("CardDeclined", f"card declined: {peer}-declined"))


def check_calls(client, peer):
    def enqueue(name, *args, **kwargs):
        id = f"from-{ME}-{uuid.uuid4()}"
        return client.enqueue({"workflow_name": name, "queue_name": "interop", "workflow_id": id, "serialization_type": PORTABLE},
                              *args, **kwargs)

    handles = [(value, enqueue("echo", value)) for value in VALUES]
    check("call: values there and back", [outcome(handle) for _, handle in handles], VALUES)
    if peer != "typescript":  # has positional arguments only
        check("call: named arguments", outcome(enqueue("order", "n-" + str(uuid.uuid4())[:8], cents=7))["total"], 7)
    check("call: failure", outcome(enqueue("declined", "d")), ("CardDeclined", "card declined: d"))
    check("call: durable sleep", outcome(enqueue("slow", 0.5)), "slept")

    again = client.enqueue({"workflow_name": "order", "queue_name": "interop", "workflow_id": peer + "-order",
                            "serialization_type": PORTABLE}, "other", 1)
    check("call: an id that exists", outcome(again)["total"], 4200)

    sleeping = enqueue("slow", 600)
    deadline = time.time() + 30
    while sleeping.get_status().status != "PENDING" and time.time() < deadline:
        time.sleep(0.05)
    client.cancel_workflow(sleeping.workflow_id)
    try:
        ended = sleeping.get_result()
    except dbos_error.DBOSAwaitedWorkflowCancelledError:
        ended = "cancelled"
    check("call: cancel", (ended, sleeping.get_status().status), ("cancelled", "CANCELLED"))


def enqueuer(client, queue):
    def enqueue(name, *args, **options):
        return client.enqueue({"workflow_name": name, "queue_name": queue, "serialization_type": PORTABLE, **options}, *args)

    return enqueue


def until(handle, status):
    deadline = time.time() + 30
    while handle.get_status().status != status and time.time() < deadline:
        time.sleep(0.05)


def refusal(call):
    try:
        call()
        return "no error"
    except Exception as error:
        return type(error).__name__


def check_options(client):
    """Everything that enqueuing can say, to an application of another language that runs it."""
    enqueue = enqueuer(client, "interop")
    delayed = enqueue("echo", "late", delay_seconds=1)
    check("options: delayed", (delayed.get_status().status, outcome(delayed)), ("DELAYED", "late"))
    limited = enqueue("slow", 600, workflow_timeout=0.3)
    check("options: timeout", outcome(limited)[0], "DBOSAwaitedWorkflowCancelledError")
    holder = enqueue("slow", 600, deduplication_id="py-only")
    check("options: deduplication", refusal(lambda: enqueue("slow", 1, deduplication_id="py-only")), "DBOSQueueDeduplicatedError")
    again = enqueue("slow", 1, deduplication_id="py-only", duplication_policy="return-existing")
    check("options: the holder of the deduplication id", again.workflow_id, holder.workflow_id)
    client.cancel_workflow(holder.workflow_id)
    check("options: free again", outcome(enqueue("echo", 1, deduplication_id="py-only")), 1)
    check("options: a version that nobody runs", enqueue("echo", 1, app_version="interop-9").get_status().status, "ENQUEUED")
    known = enqueue("echo", 1, authenticated_user="ada", authenticated_roles=["admin"], attributes={"a": [1]})
    outcome(known)
    row = known.get_status()
    check("options: user, roles and attributes", (row.authenticated_user, row.authenticated_roles, row.attributes),
          ("ada", ["admin"], {"a": [1]}))
    check("options: an id again, refused",
          refusal(lambda: enqueue("echo", 1, workflow_id=known.workflow_id, workflow_id_reuse_policy="reject")),
          "DBOSWorkflowIDInUseError")

    one = enqueuer(client, "one")
    until(one("slow", 1.5), "PENDING")
    last, second, first = one("ticket", priority=9), one("ticket", priority=5), one("ticket")
    base = outcome(first)
    check("options: priority", (outcome(second) - base, outcome(last) - base), (1, 2))

    client.register_queue("py-made", polling_interval_sec=0.2)
    check("options: a queue that this client has defined", outcome(enqueuer(client, "py-made")("echo", "ran")), "ran")
    debouncer = DebouncerClient(client, {"workflow_name": "echo", "queue_name": "interop", "serialization_type": PORTABLE})
    burst = [debouncer.debounce("py-key", 0.5, value) for value in ("first", "second", "last")]
    check("options: debounced", (len({h.workflow_id for h in burst}), outcome(burst[0])), (1, "last"))


def check_management(client):
    enqueue = enqueuer(client, "interop")
    slow = enqueue("slow", 2)
    until(slow, "PENDING")
    client.cancel_workflow(slow.workflow_id)
    check("manage: cancelled", outcome(slow)[0], "DBOSAwaitedWorkflowCancelledError")
    check("manage: resumed", outcome(client.resume_workflow(slow.workflow_id)), "slept")
    original = enqueue("tokens", 3)
    tokens = outcome(original)
    forked = outcome(client.fork_workflow(original.workflow_id, 2))
    check("manage: forked", [a == b for a, b in zip(tokens, forked)], [True, False, False])
    rewound = outcome(client.rewind_workflow(original.workflow_id, start_step=3))
    check("manage: rewound", [a == b for a, b in zip(tokens, rewound)], [True, True, False])
    check("manage: steps", [(s["function_id"], s["function_name"]) for s in client.list_workflow_steps(original.workflow_id)],
          [(1, "token"), (2, "token"), (3, "token")])
    held = enqueue("slow", 600)
    until(held, "PENDING")
    check("manage: first to end", client.wait_first([held, original]).workflow_id, original.workflow_id)
    check("manage: queued", held.workflow_id in [w.workflow_id for w in client.list_queued_workflows(queue_name="interop")], True)
    check("manage: by name and status", [w.workflow_id for w in client.list_workflows(name="slow", status="PENDING")],
          [held.workflow_id])
    client.cancel_workflow(held.workflow_id)
    client.delete_workflow(held.workflow_id)
    check("manage: deleted", client.list_workflows(workflow_ids=[held.workflow_id]), [])
    check("manage: version", client.get_latest_application_version()["version_name"], "interop-1")
    check("manage: no event", client.get_event(original.workflow_id, "none", 0), None)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        client = DBOSClient(system_database_url=sys.argv[2])
        check_history(client, sys.argv[3])
        check_calls(client, sys.argv[3])
        check_options(client)
        check_management(client)
        client.destroy()
        sys.exit(1 if failures else 0)
    else:
        sys.exit(__doc__)


main()
