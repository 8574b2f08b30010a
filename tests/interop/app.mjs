// An application of the published TypeScript SDK that knows nothing of C++ (see drive, and docs/wire/interop.md).
//
//   node app.mjs URL VERSION    serves the database under this application version; prints READY, ends at SIGTERM

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';

// The package is installed in the build directory, not beside this file.
const require = createRequire(process.env.DBOS_INTEROP_NODE_MODULES + '/');
const { DBOS, ConfiguredInstance } = require('@dbos-inc/dbos-sdk');

class CardDeclined extends Error {
  constructor(message, code, data) {
    super(message);
    this.name = 'CardDeclined';
    this.code = code;
    this.data = data;
  }
}

let orders = 0;
const workflow = (name, body) => DBOS.registerWorkflow(body, { name });
const token = () => DBOS.runStep(async () => randomUUID(), { name: 'token' });
const refuse = (message) =>
  DBOS.runStep(async () => { throw new CardDeclined(message, 402, { left: 3 }); }, { name: 'refuse' });

workflow('echo', async (value = null) => value);
workflow('described', async (first, second = 'default', ...rest) => ({ first, second, rest }));
workflow('context', async () => ({
  id: DBOS.workflowID, user: DBOS.authenticatedUser, roles: DBOS.authenticatedRoles, version: DBOS.applicationVersion,
}));
workflow('ticket', async () => ++orders);  // when it ran, compared with the others

const gate = workflow('gate', async () => {
  await DBOS.setEvent('state', 'waiting');
  const got = await DBOS.recv('go', 120);
  await DBOS.setEvent('state', 'through');
  return got;
});

// Everything that arrives without a topic, up to `end`.
workflow('mailbox', async () => {
  const got = [];
  for (;;) {
    const message = await DBOS.recv(undefined, 120);
    if (message === 'end') return got;
    got.push(message);
  }
});

workflow('events', async () => {
  await DBOS.setEvent('object', { a: [1, 2.5, null, true], text: 'Grüße \u{1f600}' });
  await DBOS.setEvent('null', null);
  await DBOS.setEvent('twice', 'first');
  await DBOS.recv('go', 120);
  await DBOS.setEvent('twice', 'second');
});

workflow('streams', async () => {
  for (const value of [1, 'two', null, { three: [3] }]) await DBOS.writeStream('values', value);
  await DBOS.recv('go', 120);
  await DBOS.writeStream('values', 'last');
  await DBOS.closeStream('values');
  await DBOS.writeStream('open', 'never closed');
});

// Steps whose results no second run could repeat.
const tokens = workflow('tokens', async (count) => {
  const got = [];
  for (let index = 0; index < count; ++index) {
    got.push(await token());
    await DBOS.setEvent('last', index);
  }
  return got;
});

const fails = workflow('fails', async (message) => { await refuse(message); });
workflow('caught', async (message) => {
  await refuse(message).catch(() => {});
  return token();
});
workflow('slow', async (seconds) => {
  await DBOS.sleepSeconds(seconds);
  return 'slept';
});

workflow('parent', async (count) => {
  const children = [];
  for (let index = 0; index < count; ++index)
    children.push(await DBOS.startWorkflow(gate, { workflowID: `${DBOS.workflowID}-child-${index}` })());
  const results = [];
  for (const child of children) results.push(await child.getResult());
  return results;
});

workflow('scheduled', async (time, context) => [time instanceof Date ? time.toISOString() : time, context]);

class Shop extends ConfiguredInstance {
  async sell(what) { return `${this.name} sells ${what}`; }
  static async close(when) { return `closed on ${when}`; }
}
Shop.prototype.sell = DBOS.registerWorkflow(Shop.prototype.sell, { name: 'sell', ctorOrProto: Shop.prototype });
Shop.close = DBOS.registerWorkflow(Shop.close, { name: 'close', ctorOrProto: Shop });
new Shop('north');

const [url, version] = process.argv.slice(2);
const stop = new Promise((resolve) => process.once('SIGTERM', resolve));
const keepAlive = setInterval(() => {}, 1000);
DBOS.setConfig({
  name: 'interop', systemDatabaseUrl: url, applicationVersion: version, logLevel: 'warn', schedulerPollingIntervalMs: 1000,
});
await DBOS.launch();
await DBOS.registerQueue('open', { minPollingIntervalMs: 100 });
await DBOS.registerQueue('one', { workerConcurrency: 1, minPollingIntervalMs: 100 });
await DBOS.registerQueue('parts', { partitionConcurrency: 1, minPollingIntervalMs: 100 });
await (await DBOS.startWorkflow(tokens, { workflowID: 'native' })(2)).getResult();
await (await DBOS.startWorkflow(fails, { workflowID: 'native-failed' })('native')).getResult().catch(() => {});
console.log('READY');
await stop;
clearInterval(keepAlive);
await DBOS.shutdown();
