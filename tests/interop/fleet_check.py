"""A mixed fleet on one database: an application of each language enqueues on the queues of all, and every limit is looked at from
outside while they work.

    fleet_check.py URL COUNT LANGUAGE=COMMAND...    COMMAND: words divided by spaces, before URL COUNT LANGUAGES

Prints `ok  …` and `not ok  …`.
"""

import subprocess
import sys
import time

import psycopg

CONCURRENCY, STARTS, PERIOD_MS = 3, 4, 1000  # as the fleet programs register them


def main():
    url, count = sys.argv[1], int(sys.argv[2])
    commands = dict(argument.split("=", 1) for argument in sys.argv[3:])
    languages = ",".join(commands)
    failed = False

    def check(good, what):
        nonlocal failed
        failed = failed or not good
        print(f"{'ok' if good else 'not ok'}  {what}", flush=True)

    members = {}
    try:
        for language, command in commands.items():  # one after another: the first one makes the database
            member = members[language] = subprocess.Popen(command.split(" ") + [url, str(count), languages], stdin=subprocess.PIPE,
                                                          stdout=subprocess.PIPE, text=True)
            check(member.stdout.readline().strip() == "READY", f"the {language} application serves")
        for member in members.values():
            member.stdin.write("go\n")
            member.stdin.flush()
        total = count * len(members) ** 2 * 3
        connection = psycopg.connect(url, autocommit=True)
        most, most_of_key, end, done = {}, {}, time.time() + 120, 0
        while done < total and time.time() < end:
            rows = connection.execute("SELECT queue_name, queue_partition_key, count(*) FROM dbos.workflow_status WHERE name = "
                                      "'fleet_job' AND status = 'PENDING' GROUP BY 1, 2").fetchall()
            for queue, key, running in rows:
                most[queue] = max(most.get(queue, 0), running)
                if key is not None:
                    most_of_key[queue] = max(most_of_key.get(queue, 0), running)
            done = connection.execute("SELECT count(*) FROM dbos.workflow_status WHERE name = 'fleet_job' AND status = 'SUCCESS'"
                                      ).fetchone()[0]
            time.sleep(0.01)
        check(done == total, f"all {total} jobs have ended ({done})")
        for language in members:
            wrong = connection.execute(
                "SELECT count(*) FROM dbos.workflow_status w LEFT JOIN dbos.workflow_output o USING (workflow_uuid) WHERE w.name = "
                "'fleet_job' AND w.queue_name LIKE %s AND (o.output IS NULL OR o.output NOT LIKE %s)",
                (f"%-{language}", f"% by {language}%")).fetchone()[0]
            check(wrong == 0, f"what is enqueued on the queues of {language} by anybody is run by {language}")
            shared = most.get(f"shared-{language}", 0)
            check(0 < shared <= CONCURRENCY, f"at most {CONCURRENCY} of shared-{language} run at once ({shared} seen)")
            keyed = most_of_key.get(f"keyed-{language}", 0)
            check(keyed <= 1, f"one of each key of keyed-{language} runs at once ({keyed} seen)")
            close = connection.execute(
                "SELECT count(*) FROM (SELECT started_at_epoch_ms - lag(started_at_epoch_ms, %s) OVER (ORDER BY started_at_epoch_ms)"
                " AS apart FROM dbos.workflow_status WHERE queue_name = %s) x WHERE apart < %s",
                (STARTS, f"rated-{language}", PERIOD_MS)).fetchone()[0]
            check(close == 0, f"at most {STARTS} of rated-{language} start in {PERIOD_MS} ms ({close} too many)")
    finally:
        for member in members.values():
            member.terminate()
        for member in members.values():
            try:
                member.wait(20)
            except subprocess.TimeoutExpired:
                member.kill()
    return 1 if failed else 0


sys.exit(main())
