// One application of upstream's Node.js bindings, for test_other_bindings.py; the words of app.py, of which it knows
// `listen` and `talk`:  node app.mjs listen|talk NAME ENDPOINT [PEER] [--mls] [--messages=N]
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// The package is installed beside neither this file nor its caller: SLIPWAY_NODE_MODULES says where.
const require = createRequire(process.env.SLIPWAY_NODE_MODULES + '/');
const { default: slim } = await import(pathToFileURL(require.resolve('@agntcy/slim-bindings')).href);

const SECRET = 'a-secret-of-the-tests-with-32-bytes-and-more';
const PATIENCE_MS = 60000;
const [role, name, endpoint, ...rest] = process.argv.slice(2);
const peer = rest.find((word) => !word.startsWith('--'));
const mls = rest.includes('--mls');
const messages = Number((rest.find((word) => word.startsWith('--messages=')) ?? '--messages=5').split('=')[1]);
const nameOf = (text) => new slim.Name(...text.split('/'));
const bytesOf = (text) => { const b = new TextEncoder().encode(text); return b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength); };
const textOf = (buffer) => new TextDecoder().decode(buffer);

async function start() {
  slim.initializeWithDefaults();
  const service = slim.getGlobalService();
  const link = await service.connectAsync(slim.newInsecureClientConfig(endpoint));
  const app = service.createAppWithSecret(nameOf(name), SECRET);
  await app.subscribeAsync(app.name(), link);
  if (peer) {
    await app.setRouteAsync(nameOf(peer), link);
  }
  return app;
}

async function listen() {
  const app = await start();
  console.log('ready');
  const session = await app.listenForSessionAsync(PATIENCE_MS);
  for (let answered = 0; ; answered += 1) {
    const text = textOf((await session.getMessageAsync(PATIENCE_MS)).payload);
    if (text === 'bye') {
      return { answered };
    }
    await session.publishAsync(bytesOf('echo ' + text), undefined, undefined);
  }
}

async function talk() {
  const app = await start();
  const config = { sessionType: slim.SessionType.PointToPoint, maxRetries: 10, interval: 1000, metadata: new Map(),
    mlsSettings: mls ? { headerIntegrityValidationPercent: 100, maxSeenControlMessageIdsSize: undefined } : undefined };
  const session = await app.createSessionAndWaitAsync(config, nameOf(peer));
  for (let i = 0; i < messages; i += 1) {
    await session.publishAsync(bytesOf(`message ${i}`), undefined, undefined);
    const text = textOf((await session.getMessageAsync(PATIENCE_MS)).payload);
    if (text !== `echo message ${i}`) {
      throw new Error(`message ${i}: ${text}`);
    }
  }
  await session.publishAsync(bytesOf('bye'), undefined, undefined);
  await new Promise((done) => setTimeout(done, 500));
  return { messages };
}

console.log(JSON.stringify(await (role === 'listen' ? listen() : talk())));
process.exit(0);
