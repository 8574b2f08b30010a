"""One of two executors on one schedule, in Python (see tick in run, and docs/wire/interop.md).

    ticker.py URL    serves the application `ticking`; prints READY, ends at SIGTERM
"""

import signal
import sys
import threading
from datetime import datetime

from dbos import DBOS


@DBOS.workflow(name="ticked")
def ticked(tick: datetime, context):
    return context


def main():
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    DBOS(config={"name": "ticking", "system_database_url": sys.argv[1], "application_version": "python-1",
                 "log_level": "WARNING", "scheduler_polling_interval_sec": 1.0})
    DBOS.launch()
    DBOS.set_latest_application_version("python-1")
    print("READY", flush=True)
    while not stop.wait(0.5):
        pass
    DBOS.destroy()


main()
