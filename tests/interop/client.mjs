// A client of the published TypeScript SDK, at the command of another program (see drive).
//
//   node client.mjs URL    reads lines {"call": NAME, ...} of JSON and answers each with {"result": …} or {"error": TYPE}

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// The package is installed in the build directory, not beside this file.
const require = createRequire(process.env.DBOS_INTEROP_NODE_MODULES + '/');
const { DBOSClient, DebouncerClient } = require('@dbos-inc/dbos-sdk');

const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const client = await DBOSClient.create({ systemDatabaseUrl: process.argv[2], logger: quiet });
const portable = { serializationType: 'portable' };

function scheduleRow(row) {
  return row && {
    schedule_name: row.scheduleName, workflow_name: row.workflowName, schedule: row.schedule, status: row.status,
    context: row.context, cron_timezone: row.cronTimezone, queue_name: row.queueName, application_name: row.applicationName,
  };
}

const calls = {
  debounce: async ({ name, queue, key, period, value }) =>
    (await new DebouncerClient(client, { workflowName: name, startWorkflowParams: { queueName: queue }, ...portable })
      .debounce(key, period * 1000, value)).workflowID,
  enqueue: async ({ name, queue, args, workflow_id, deduplication_id }) =>
    (await client.enqueuePortable(
      { workflowName: name, queueName: queue, workflowID: workflow_id, deduplicationID: deduplication_id }, args)).workflowID,
  result: ({ id }) => client.retrieveWorkflow(id).getResult({ pollingIntervalMs: 50 }),
  status: async ({ id }) => {
    const row = await client.getWorkflow(id);
    return {
      status: row.status, name: row.workflowName, args: row.input, output: row.output, queue: row.queueName, priority: row.priority,
      deduplication_id: row.deduplicationID, partition: row.queuePartitionKey, attributes: row.attributes,
      forked_from: row.forkedFrom, user: row.authenticatedUser, roles: row.authenticatedRoles,
      version: row.applicationVersion, timeout_ms: row.timeoutMS,
    };
  },
  send: ({ id, message, topic }) => client.send(id, message, topic, undefined, portable),
  event: ({ id, key }) => client.getEvent(id, key, { timeoutSeconds: 30, pollingIntervalMs: 50 }),
  cancel: ({ id }) => client.cancelWorkflow(id),
  resume: async ({ id }) => (await client.resumeWorkflow(id)).workflowID,
  fork: ({ id, step }) => client.forkWorkflow(id, step),
  create_schedule: (o) => client.createSchedule({
    scheduleName: o.schedule_name, workflowName: o.workflow_name, schedule: o.schedule, context: o.context,
    options: { cronTimezone: o.cron_timezone, queueName: o.queue_name }, applicationName: o.application_name,
  }),
  schedule: async ({ name }) => scheduleRow(await client.getSchedule(name)),
  schedules: async ({ prefix }) => (await client.listSchedules({ scheduleNamePrefix: prefix })).map((s) => s.scheduleName).sort(),
  backfill: async ({ name, start, end }) =>
    (await client.backfillSchedule(name, new Date(start), new Date(end))).map((handle) => handle.workflowID),
  latest: async () => (await client.getLatestApplicationVersion()).versionName,
  queue: async ({ name }) => {
    const queue = await client.retrieveQueue(name);
    return queue && { worker_concurrency: queue.workerConcurrency, partition_concurrency: queue.partitionConcurrency };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { call, ...request } = JSON.parse(line);
  let answer;
  try {
    answer = { result: (await calls[call](request)) ?? null };
  } catch (error) {
    answer = { error: error.constructor.name, message: error.message };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
await client.destroy();
