// The far end of bench:net's transfers, in a process of its own so that neither contender shares its processor time: an HTTP server, and a client on command.
import { Agent, createServer, get } from 'node:http';

const mb = Number(process.argv[2]);
const data = Buffer.alloc(mb << 20);
const agent = new Agent({ keepAlive: false });
const fetchBytes = (port, path) =>
  new Promise((resolve, reject) => {
    let bytes = 0;
    get({ host: '127.0.0.1', port, path, agent }, response => response.on('data', part => (bytes += part.length)).on('end', () => resolve(bytes)).on('error', reject)).on('error', reject);
  });

const server = createServer((request, response) => response.end(request.url === '/data' ? data : 'x'));
server.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));

process.on('message', async ({ port, path, count }) => {
  try {
    const start = performance.now();
    let bytes = 0;
    for (let i = 0; i < count; i++) bytes += await fetchBytes(port, path);
    process.send({ ms: performance.now() - start, bytes });
  } catch (error) {
    process.send({ error: String(error) });
  }
});
process.on('disconnect', () => process.exit());
