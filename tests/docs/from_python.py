"""The Python programs of docs/how-to/from-python-to-cpp.md. Run by hand, with the package dbos of PyPI (3.4.0):

    python3 from_python.py sqlite:////tmp/from_python.sqlite
"""

import asyncio
import sys
from datetime import datetime, timezone

url = sys.argv[1]


# [workflow]
from dbos import DBOS, WorkflowSerializationFormat

PORTABLE = WorkflowSerializationFormat.PORTABLE


@DBOS.step(retries_allowed=True, max_attempts=5,
           interval_seconds=0.2)
def charge(order):
    return "charge-" + order["id"]


@DBOS.step()
def pack(order):
    pass


@DBOS.workflow(name="checkout",
               serialization_type=PORTABLE)
def checkout(order):
    charge_id = charge(order)
    DBOS.sleep(0.1)
    pack(order)
    return {"order_id": order["id"],
            "charge_id": charge_id}
# [workflow]


# [parallel]
@DBOS.step()
async def price_of(order):
    return order["cents"]


@DBOS.step()
async def days_for(order):
    return 3


@DBOS.workflow(name="quote", serialization_type=PORTABLE)
async def quote(order):
    price, days = await asyncio.gather(
        price_of(order), days_for(order))
    return {"cents": price, "days": days}
# [parallel]


# [children]
@DBOS.workflow(name="checkout_all",
               serialization_type=PORTABLE)
def checkout_all(orders):
    handles = [DBOS.enqueue_workflow("orders", checkout, order)
               for order in orders]
    return [handle.get_result()["charge_id"]
            for handle in handles]
# [children]


# [errors]
class CardDeclined(Exception):
    pass


@DBOS.step()
def authorize(order):
    if order["cents"] <= 0:
        raise CardDeclined("no money in it")


@DBOS.workflow(name="pay", serialization_type=PORTABLE)
def pay(order):
    try:
        authorize(order)
    except CardDeclined as error:
        if order["id"] == "test":
            return "sorry: " + str(error)
        raise
    return "paid"
# [errors]


# [scheduled]
@DBOS.workflow(name="report", serialization_type=PORTABLE)
def report(scheduled_at, to):
    return "report for " + to
# [scheduled]


# [app]
DBOS(config={
    "name": "shop",
    "system_database_url": url,
    "application_version": "shop-1",
})
DBOS.launch()
DBOS.register_queue("orders", worker_concurrency=16)
# [app]

# [start]
from dbos import SetWorkflowID

with SetWorkflowID("o-17"):
    handle = DBOS.start_workflow(
        checkout, {"id": "o-17", "cents": 4200})
receipt = handle.get_result()
# [start]
assert receipt["charge_id"] == "charge-o-17"
assert DBOS.start_workflow(quote, {"id": "o", "cents": 7}).get_result()["cents"] == 7
assert checkout_all([{"id": "a", "cents": 1}, {"id": "b", "cents": 1}]) == ["charge-a", "charge-b"]

# [client]
from dbos import DBOSClient

client = DBOSClient(system_database_url=url,
                    application_name="shop")
# [client]

# [enqueue]
handle = client.enqueue(
    {"workflow_name": "checkout",
     "queue_name": "orders",
     "workflow_id": "o-18",
     "workflow_timeout": 30,
     "serialization_type": PORTABLE},
    {"id": "o-18", "cents": 4200})
receipt = handle.get_result()
# [enqueue]
assert receipt["charge_id"] == "charge-o-18"

# [by_name]
handle = client.enqueue(
    {"workflow_name": "checkout",
     "queue_name": "orders",
     "serialization_type": PORTABLE},
    order={"id": "o-19", "cents": 1})
charge_id = handle.get_result()["charge_id"]
# [by_name]
assert charge_id == "charge-o-19"


async def async_calls():
    # [asynchronous]
    handle = await client.enqueue_async(
        {"workflow_name": "checkout", "queue_name": "orders",
         "serialization_type": PORTABLE},
        {"id": "o-20", "cents": 1})
    receipt = await handle.get_result()
    # [asynchronous]
    assert receipt["charge_id"] == "charge-o-20"


asyncio.run(async_calls())

# [failure]
from dbos import error as dbos_error

handle = client.enqueue(
    {"workflow_name": "pay", "queue_name": "orders",
     "serialization_type": PORTABLE},
    {"id": "o-0", "cents": 0})
try:
    said = handle.get_result()
except dbos_error.DBOSAwaitedWorkflowCancelledError:
    said = "cancelled"
except Exception as error:
    said = str(error)
# [failure]
assert "no money in it" in said, said
assert DBOS.start_workflow(pay, {"id": "test", "cents": 0}).get_result() == "sorry: no money in it"

# [manage]
client.cancel_workflow("o-18")
steps = client.list_workflow_steps("o-17")
fork = client.fork_workflow("o-17", steps[-1]["function_id"])
fork.get_result()
failures = client.list_workflows(
    status=["ERROR", "CANCELLED"],
    start_time="2026-01-01T00:00:00+00:00",
    limit=50)
# [manage]
assert failures

# [messages]
client.send("o-17", {"ok": True}, "approval",
            idempotency_key="a-1",
            serialization_type=PORTABLE)
progress = client.get_event("o-17", "progress",
                            timeout_seconds=0.1)
for line in client.read_stream("o-17", "log"):
    print(line)
# [messages]
assert progress is None

# [debounce]
from dbos import DebouncerClient

debouncer = DebouncerClient(
    client, {"workflow_name": "checkout",
             "queue_name": "orders",
             "serialization_type": PORTABLE},
    debounce_timeout_sec=600)
handle = debouncer.debounce(
    "o-21", 0.1, {"id": "o-21", "cents": 4300})
# [debounce]
assert handle.get_result()["order_id"] == "o-21"

# [schedules]
client.create_schedule(
    schedule_name="daily-report", workflow_name="report",
    schedule="0 5 * * *", context="sales")
runs = client.backfill_schedule(
    "daily-report",
    datetime(2026, 3, 1, tzinfo=timezone.utc),
    datetime(2026, 3, 4, tzinfo=timezone.utc))
run = client.trigger_schedule("daily-report")
# [schedules]
assert run.get_result() == "report for sales" and len(runs) == 3

# [close]
client.destroy()
DBOS.destroy()
# [close]
print("from_python: passed")
