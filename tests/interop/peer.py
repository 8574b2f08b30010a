"""One side of the interoperability tests, in Python (see run, and docs/wire/interop.md).

    peer.py serve URL         an application on the database; prints READY when its first workflows have ended
    peer.py check URL PEER    a client that inspects and drives the application of PEER there
"""

import signal
import sys
import time
import uuid

from dbos import DBOS, DBOSClient, SetWorkflowID, WorkflowSerializationFormat
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


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "serve":
        serve(sys.argv[2])
    elif len(sys.argv) == 4 and sys.argv[1] == "check":
        client = DBOSClient(system_database_url=sys.argv[2])
        check_history(client, sys.argv[3])
        check_calls(client, sys.argv[3])
        client.destroy()
        sys.exit(1 if failures else 0)
    else:
        sys.exit(__doc__)


main()
