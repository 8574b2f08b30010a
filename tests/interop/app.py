"""An application of the published Python SDK that knows nothing of C++ (see drive, and docs/wire/interop.md).

    app.py URL VERSION    serves the database under this application version; prints READY, ends at SIGTERM
"""

import itertools
import signal
import sys
import threading
import uuid

from dbos import DBOS, DBOSConfiguredInstance, SetWorkflowID

orders = itertools.count(1)


class CardDeclined(Exception):
    def __init__(self, message, code=None, data=None):  # unpickled with the message alone
        super().__init__(message)
        self.code = code
        self.data = data


@DBOS.step(name="token")
def token():
    return uuid.uuid4().hex


@DBOS.step(name="refuse")
def refuse(message):
    raise CardDeclined(message, 402, {"left": 3})


@DBOS.workflow(name="echo")
def echo(value=None):
    return value


@DBOS.workflow(name="described")
def described(first, second="default", *rest):
    return {"first": first, "second": second, "rest": list(rest)}


@DBOS.workflow(name="context")
def context():
    return {"id": DBOS.workflow_id, "user": DBOS.authenticated_user, "roles": DBOS.authenticated_roles,
            "version": DBOS.application_version}


@DBOS.workflow(name="ticket")
def ticket():
    """When it ran, compared with the others."""
    return next(orders)


@DBOS.workflow(name="gate")
def gate():
    DBOS.set_event("state", "waiting")
    got = DBOS.recv("go", 120)
    DBOS.set_event("state", "through")
    return got


@DBOS.workflow(name="mailbox")
def mailbox():
    """Everything that arrives without a topic, up to `end`."""
    got = []
    while True:
        message = DBOS.recv(None, 120)
        if message == "end":
            return got
        got.append(message)


@DBOS.workflow(name="events")
def events():
    DBOS.set_event("object", {"a": [1, 2.5, None, True], "text": "Grüße \U0001f600"})
    DBOS.set_event("null", None)
    DBOS.set_event("twice", "first")
    DBOS.recv("go", 120)
    DBOS.set_event("twice", "second")


@DBOS.workflow(name="streams")
def streams():
    for value in [1, "two", None, {"three": [3]}]:
        DBOS.write_stream("values", value)
    DBOS.recv("go", 120)
    DBOS.write_stream("values", "last")
    DBOS.close_stream("values")
    DBOS.write_stream("open", "never closed")


@DBOS.workflow(name="tokens")
def tokens(count):
    """Steps whose results no second run could repeat."""
    got = []
    for index in range(count):
        got.append(token())
        DBOS.set_event("last", index)
    return got


@DBOS.workflow(name="fails")
def fails(message):
    refuse(message)


@DBOS.workflow(name="caught")
def caught(message):
    try:
        refuse(message)
    except CardDeclined:
        pass
    return token()


@DBOS.workflow(name="slow")
def slow(seconds):
    DBOS.sleep(seconds)
    return "slept"


@DBOS.workflow(name="parent")
def parent(count):
    children = []
    for index in range(count):
        with SetWorkflowID(f"{DBOS.workflow_id}-child-{index}"):
            children.append(DBOS.start_workflow(gate))
    return [child.get_result() for child in children]


@DBOS.workflow(name="scheduled")
def scheduled(time, context):
    return [str(time), context]


@DBOS.dbos_class("Shop")
class Shop(DBOSConfiguredInstance):
    def __init__(self, name):
        super().__init__(name)
        self.name = name

    @DBOS.workflow(name="sell")
    def sell(self, what):
        return f"{self.name} sells {what}"

    @staticmethod
    @DBOS.workflow(name="close")
    def close(when):
        return f"closed on {when}"


shop = Shop("north")


def main():
    url, version = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    DBOS(config={"name": "interop", "system_database_url": url, "application_version": version, "log_level": "WARNING",
                 "scheduler_polling_interval_sec": 1.0, "notification_listener_polling_interval_sec": 0.05})
    DBOS.launch()
    DBOS.register_queue("open", polling_interval_sec=0.1)
    DBOS.register_queue("one", worker_concurrency=1, polling_interval_sec=0.1)
    DBOS.register_queue("parts", partition_concurrency=1, polling_interval_sec=0.1)
    with SetWorkflowID("native"):
        DBOS.start_workflow(tokens, 2).get_result()
    with SetWorkflowID("native-failed"):
        try:
            DBOS.start_workflow(fails, "native").get_result()
        except CardDeclined:
            pass
    print("READY", flush=True)
    while not stop.wait(0.5):
        pass
    DBOS.destroy()


main()
