// One side of the interoperability tests, in JavaScript (see run, and docs/wire/interop.md).
//
//   node peer.mjs serve URL        an application on the database; prints READY when its first workflows have ended
//   node peer.mjs check URL PEER   a client that inspects and drives the application of PEER there

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { setTimeout as pause } from 'node:timers/promises';

// The package is installed in the build directory, not beside this file.
const require = createRequire(process.env.DBOS_INTEROP_NODE_MODULES + '/');
const { DBOS, DBOSClient, DebouncerClient } = require('@dbos-inc/dbos-sdk');

const ME = 'typescript';
const portable = { serialization: 'portable' };

class CardDeclined extends Error {
  constructor(message) {
    super(message);
    this.name = 'CardDeclined';
  }
}

const step = (name, work) => DBOS.runStep(async () => work(), { name });

const label = DBOS.registerWorkflow(async (id) => `label-${id}`, { name: 'label', ...portable });

const order = DBOS.registerWorkflow(
  async (id, cents) => {
    const total = await step('reserve', () => cents);
    const charge = await step('charge', () => `charge-${id}`);
    const child = await DBOS.startWorkflow(label, { workflowID: `${id}-label` })(id);
    return { id, total, charge, label: await child.getResult() };
  },
  { name: 'order', ...portable },
);

const declined = DBOS.registerWorkflow(
  async (id) => {
    await step('reserve', () => 1);
    throw new CardDeclined(`card declined: ${id}`);
  },
  { name: 'declined', ...portable },
);

DBOS.registerWorkflow(async (value) => value, { name: 'echo', ...portable });

DBOS.registerWorkflow(
  async (seconds) => {
    await DBOS.sleepSeconds(seconds);
    return 'slept';
  },
  { name: 'slow', ...portable },
);

async function serve(url) {
  DBOS.setConfig({ name: 'interop', systemDatabaseUrl: url, applicationVersion: 'interop-1', logLevel: 'warn' });
  const stop = new Promise((resolve) => process.once('SIGTERM', resolve));
  const keepAlive = setInterval(() => {}, 1000);
  await DBOS.launch();
  await DBOS.registerQueue('interop');
  await (await DBOS.startWorkflow(order, { workflowID: `${ME}-order` })(`${ME}-order`, 4200)).getResult();
  await (await DBOS.startWorkflow(declined, { workflowID: `${ME}-declined` })(`${ME}-declined`)).getResult().catch(() => {});
  console.log('READY');
  await stop;
  clearInterval(keepAlive);
  await DBOS.shutdown();
}

// --- the checks -----------------------------------------------------------------------------------------------------

let failures = 0;

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}

function check(name, got, expected) {
  const [a, b] = [got, expected].map((value) => JSON.stringify(sorted(value)));
  if (a === b) {
    console.log(`ok      ${name}`);
  } else {
    failures += 1;
    console.log(`not ok  ${name}\n          got      ${a}\n          expected ${b}`);
  }
}

// A listing of this SDK shows a portable error as an Error whose message is the stored text; a result revives it.
function describe(error) {
  try {
    const stored = JSON.parse(error.message);
    return [stored.name, stored.message];
  } catch {
    return [error.name, error.message];
  }
}
const outcome = (handle) => handle.getResult().catch(describe);

const VALUES = [
  null, true, false, 0, -1, 2 ** 53 - 1, 0.5, -1e-7, 1e21, '', 'plain', 'Grüße, 世界 \u{1f600}', 'quote " backslash \\ line\nend',
  [], {}, [1, [2, [3]]], { a: { b: [null, { c: '' }] }, '': 0 },
];

async function checkHistory(client, peer) {
  const list = await client.listWorkflows({ workflow_id_prefix: `${peer}-` });
  const rows = Object.fromEntries(list.map((row) => [row.workflowID, row]));
  const whole = rows[`${peer}-order`];
  const expected = { id: `${peer}-order`, total: 4200, charge: `charge-${peer}-order`, label: `label-${peer}-order` };
  check('list: ids', Object.keys(rows).sort(), [`${peer}-declined`, `${peer}-order`, `${peer}-order-label`]);
  check('list: status and name', [whole.status, whole.workflowName], ['SUCCESS', 'order']);
  check('list: input', whole.input, [`${peer}-order`, 4200]);
  check('list: output', whole.output, expected);
  check('list: parent', rows[`${peer}-order-label`].parentWorkflowID, `${peer}-order`);
  const refused = rows[`${peer}-declined`];
  check('list: failed', [refused.status, describe(refused.error)], ['ERROR', ['CardDeclined', `card declined: ${peer}-declined`]]);

  const steps = await client.listWorkflowSteps(`${peer}-order`);
  check('steps: names', steps.map((s) => s.name), ['reserve', 'charge', 'label', 'DBOS.getResult']);
  // Python writes step results in its own format, also in portable workflows: text that nobody else decodes.
  const readable = peer === 'cpp' || peer === ME;
  check('steps: outputs', steps.slice(0, 2).map((s) => (readable ? s.output : typeof s.output)),
    readable ? [4200, `charge-${peer}-order`] : ['string', 'string']);
  check('steps: child', steps[2].childWorkflowID, `${peer}-order-label`);
  check('steps: times', steps.slice(0, 2).every((s) => s.startedAtEpochMs <= s.completedAtEpochMs), true);

  check('result: of a finished workflow', await outcome(client.retrieveWorkflow(`${peer}-order`)), expected);
  check('result: of a failed workflow', await outcome(client.retrieveWorkflow(`${peer}-declined`)),
    ['CardDeclined', `card declined: ${peer}-declined`]);
}

async function checkCalls(client, peer) {
  const enqueue = (name, args, named) =>
    client.enqueuePortable({ workflowName: name, queueName: 'interop', workflowID: `from-${ME}-${randomUUID()}` }, args, named);

  const handles = [];
  for (const value of VALUES) handles.push(await enqueue('echo', [value]));
  check('call: values there and back', await Promise.all(handles.map(outcome)), VALUES);
  if (peer !== 'typescript') {
    const handle = await enqueue('order', [`n-${randomUUID().slice(0, 8)}`], { cents: 7 });
    check('call: named arguments', (await outcome(handle)).total, 7);
  }
  check('call: failure', await outcome(await enqueue('declined', ['d'])), ['CardDeclined', 'card declined: d']);
  check('call: durable sleep', await outcome(await enqueue('slow', [0.5])), 'slept');

  const again = await client.enqueuePortable(
    { workflowName: 'order', queueName: 'interop', workflowID: `${peer}-order` }, ['other', 1]);
  check('call: an id that exists', (await outcome(again)).total, 4200);

  const sleeping = await enqueue('slow', [600]);
  for (let i = 0; i < 600 && (await sleeping.getStatus()).status !== 'PENDING'; ++i) await pause(50);
  await client.cancelWorkflow(sleeping.workflowID);
  const ended = await sleeping.getResult().then(() => 'ended', (error) => error.constructor.name);
  check('call: cancel', [ended, (await sleeping.getStatus()).status], ['DBOSAwaitedWorkflowCancelledError', 'CANCELLED']);
}

const enqueuer = (client, queueName) => (workflowName, args, options) =>
  client.enqueuePortable({ workflowName, queueName, ...options }, args);
const ended = (handle) => handle.getResult({ pollingIntervalMs: 50 }).catch((error) => error.constructor.name);
const refusal = (call) => call().then(() => 'no error', (error) => error.constructor.name);

async function until(handle, status) {
  for (let i = 0; i < 600 && (await handle.getStatus()).status !== status; ++i) await pause(50);
}

// Everything that enqueuing can say, to an application of another language that runs it.
async function checkOptions(client) {
  const enqueue = enqueuer(client, 'interop');
  const delayed = await enqueue('echo', ['late'], { delaySeconds: 1 });
  check('options: delayed', [(await delayed.getStatus()).status, await ended(delayed)], ['DELAYED', 'late']);
  const limited = await enqueue('slow', [600], { workflowTimeoutMS: 300 });
  check('options: timeout', await ended(limited), 'DBOSAwaitedWorkflowCancelledError');
  const key = { deduplicationID: 'ts-only' };
  const holder = await enqueue('slow', [600], key);
  check('options: deduplication', await refusal(() => enqueue('slow', [1], key)), 'DBOSQueueDuplicatedError');
  const again = await enqueue('slow', [1], { ...key, duplicationPolicy: 'return-existing' });
  check('options: the holder of the deduplication id', again.workflowID, holder.workflowID);
  await client.cancelWorkflow(holder.workflowID);
  check('options: free again', await ended(await enqueue('echo', [1], key)), 1);
  const nobody = await enqueue('echo', [1], { appVersion: 'interop-9' });
  check('options: a version that nobody runs', (await nobody.getStatus()).status, 'ENQUEUED');
  const known = await enqueue('echo', [1], { authenticatedUser: 'ada', authenticatedRoles: ['admin'], attributes: { a: [1] } });
  await ended(known);
  const row = await known.getStatus();
  check('options: user, roles and attributes', [row.authenticatedUser, row.authenticatedRoles, row.attributes],
    ['ada', ['admin'], { a: [1] }]);
  check('options: an id again, refused',
    await refusal(() => enqueue('echo', [1], { workflowID: known.workflowID, workflowIDReusePolicy: 'reject' })),
    'DBOSWorkflowIDInUseError');

  const one = enqueuer(client, 'one');
  await until(await one('slow', [1.5]), 'PENDING');
  const [last, second, first] = [await one('ticket', [], { priority: 9 }), await one('ticket', [], { priority: 5 }), await one('ticket', [])];
  const base = await ended(first);
  check('options: priority', [(await ended(second)) - base, (await ended(last)) - base], [1, 2]);

  await client.registerQueue('ts-made', { minPollingIntervalMs: 200 });
  check('options: a queue that this client has defined', await ended(await enqueuer(client, 'ts-made')('echo', ['ran'])), 'ran');
  const debouncer = new DebouncerClient(client, {
    workflowName: 'echo', startWorkflowParams: { queueName: 'interop' }, serializationType: 'portable' });
  const burst = [];
  for (const value of ['first', 'second', 'last']) burst.push(await debouncer.debounce('ts-key', 500, value));
  check('options: debounced', [new Set(burst.map((h) => h.workflowID)).size, await ended(burst[0])], [1, 'last']);
}

async function checkManagement(client) {
  const enqueue = enqueuer(client, 'interop');
  const slow = await enqueue('slow', [2]);
  await until(slow, 'PENDING');
  await client.cancelWorkflow(slow.workflowID);
  check('manage: cancelled', await ended(slow), 'DBOSAwaitedWorkflowCancelledError');
  check('manage: resumed', await ended(await client.resumeWorkflow(slow.workflowID)), 'slept');
  const original = await enqueue('tokens', [3]);
  const tokens = await ended(original);
  const forked = await ended(client.retrieveWorkflow(await client.forkWorkflow(original.workflowID, 2)));
  check('manage: forked', tokens.map((token, i) => token === forked[i]), [true, false, false]);
  const rewound = await ended(await client.rewindWorkflow(original.workflowID, { startStep: 3 }));
  check('manage: rewound', tokens.map((token, i) => token === rewound[i]), [true, true, false]);
  check('manage: steps', (await client.listWorkflowSteps(original.workflowID)).map((s) => [s.functionID, s.name]),
    [[1, 'token'], [2, 'token'], [3, 'token']]);
  const held = await enqueue('slow', [600]);
  await until(held, 'PENDING');
  check('manage: first to end', (await client.waitFirst([held, original])).workflowID, original.workflowID);
  check('manage: queued', (await client.listQueuedWorkflows({ queueName: 'interop' })).some((w) => w.workflowID === held.workflowID), true);
  check('manage: by name and status',
    (await client.listWorkflows({ workflowName: 'slow', status: 'PENDING' })).map((w) => w.workflowID), [held.workflowID]);
  await client.cancelWorkflow(held.workflowID);
  await client.deleteWorkflow(held.workflowID);
  check('manage: deleted', await client.listWorkflows({ workflowIDs: [held.workflowID] }), []);
  check('manage: version', (await client.getLatestApplicationVersion()).versionName, 'interop-1');
  check('manage: no event', await client.getEvent(original.workflowID, 'none', 0), null);
}

const [mode, url, peer] = process.argv.slice(2);
if (mode === 'serve' && url) {
  await serve(url);
} else if (mode === 'check' && peer) {
  const client = await DBOSClient.create({ systemDatabaseUrl: url });
  await checkHistory(client, peer);
  await checkCalls(client, peer);
  await checkOptions(client);
  await checkManagement(client);
  await client.destroy();
  process.exitCode = failures ? 1 : 0;
} else {
  console.error('usage: peer.mjs serve URL | check URL PEER');
  process.exitCode = 2;
}
