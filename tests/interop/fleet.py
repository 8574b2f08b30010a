"""One application of a mixed fleet, in Python (see fleet in run, and docs/wire/interop.md).

    fleet.py URL COUNT LANGUAGES    serves the application fleet-python; prints READY; at a line of input enqueues COUNT jobs on each
                                    queue of each of the comma-separated languages and prints ENQUEUED; ends at SIGTERM
"""

import signal
import sys
import threading
import time

from dbos import DBOS, WorkflowSerializationFormat


@DBOS.workflow(name="fleet_job")
def fleet_job(origin, number):
    time.sleep(0.05)
    return f"{origin} {number} by python"


def enqueue(count, languages):
    for number in range(count):
        for language in languages:
            for kind in ("shared", "rated", "keyed"):
                options = {"workflow_name": "fleet_job", "queue_name": f"{kind}-{language}", "application_name": f"fleet-{language}",
                           "serialization_type": WorkflowSerializationFormat.PORTABLE}
                if kind == "keyed":
                    options["queue_partition_key"] = f"key{number % 2}"
                DBOS.enqueue_workflow_with_options(options, "python", number)
    print("ENQUEUED", flush=True)


def main():
    url, count, languages = sys.argv[1:]
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    DBOS(config={"name": "fleet-python", "system_database_url": url, "application_version": "fleet-python-1", "log_level": "WARNING"})
    DBOS.launch()
    DBOS.register_queue("shared-python", global_concurrency=3, polling_interval_sec=0.1)
    DBOS.register_queue("rated-python", limiter={"limit": 4, "period": 1}, polling_interval_sec=0.1)
    DBOS.register_queue("keyed-python", partition_concurrency=1, polling_interval_sec=0.1)
    print("READY", flush=True)

    def on_input():
        if sys.stdin.readline():
            enqueue(int(count), languages.split(","))

    threading.Thread(target=on_input, daemon=True).start()
    while not stop.wait(0.5):
        pass
    DBOS.destroy()


main()
