// One application of a mixed fleet, in TypeScript (see fleet in run, and docs/wire/interop.md).
//
//   node fleet.mjs URL COUNT LANGUAGES    as fleet.py, as application fleet-typescript

import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

// The package is installed in the build directory, not beside this file.
const require = createRequire(process.env.DBOS_INTEROP_NODE_MODULES + '/');
const { DBOS, DBOSClient } = require('@dbos-inc/dbos-sdk');

DBOS.registerWorkflow(async (origin, number) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return `${origin} ${number} by typescript`;
}, { name: 'fleet_job' });

const [url, count, languages] = process.argv.slice(2);
const stop = new Promise((resolve) => process.once('SIGTERM', resolve));
const keepAlive = setInterval(() => {}, 1000);
DBOS.setConfig({ name: 'fleet-typescript', systemDatabaseUrl: url, applicationVersion: 'fleet-typescript-1', logLevel: 'warn' });
await DBOS.launch();
await DBOS.registerQueue('shared-typescript', { globalConcurrency: 3, minPollingIntervalMs: 100 });
await DBOS.registerQueue('rated-typescript', { rateLimit: { limitPerPeriod: 4, periodSec: 1 }, minPollingIntervalMs: 100 });
await DBOS.registerQueue('keyed-typescript', { partitionConcurrency: 1, minPollingIntervalMs: 100 });
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const client = await DBOSClient.create({ systemDatabaseUrl: url, logger: quiet });

async function enqueue() {
  for (let number = 0; number < Number(count); ++number) {
    for (const language of languages.split(',')) {
      for (const kind of ['shared', 'rated', 'keyed']) {
        const options = { workflowName: 'fleet_job', queueName: `${kind}-${language}`, applicationName: `fleet-${language}` };
        if (kind === 'keyed') options.queuePartitionKey = `key${number % 2}`;
        await client.enqueuePortable(options, ['typescript', number]);
      }
    }
  }
  console.log('ENQUEUED');
}

createInterface({ input: process.stdin }).once('line', enqueue);
console.log('READY');
await stop;
clearInterval(keepAlive);
await client.destroy();
await DBOS.shutdown();
process.exit(0);
