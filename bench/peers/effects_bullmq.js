'use strict';
// The roles of effects.py, in Node.
const http = require('http');
const readline = require('readline');
const { Pool } = require('pg');
const { Queue, Worker } = require('bullmq');

const PAUSE = 5, PAGE = 1000;
const STALE = "status IN ('pending', 'progress') AND expires_at < now()";
const READ = `SELECT id FROM conversations WHERE id > $1 AND ${STALE} ORDER BY id LIMIT ${PAGE}`;
const WRITE = `UPDATE conversations SET status = 'expired', closed_at = now() WHERE id = $1 AND ${STALE}`;
const role = process.argv[2], settings = JSON.parse(process.argv[3]);
const connection = { host: '127.0.0.1', port: settings.port, maxRetriesPerRequest: null };
const [database, folder] = settings.database.match(/@\/([^?]+)\?host=(.*)$/).slice(1).map(decodeURIComponent);
const pool = new Pool({ host: folder, user: 'postgres', database, max: 10 });
const agent = new http.Agent({ keepAlive: true, maxSockets: settings.concurrency });

function post(id) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify({ id });
    const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) };
    const request = http.request(settings.effect, { method: 'POST', agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => (answer.statusCode === 200 ? resolve() : reject(new Error(answer.statusCode))));
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function work(job) {
  const id = job.data.id;
  if (settings.effect === 'pause') await new Promise((wake) => setTimeout(wake, PAUSE));
  else if (settings.effect !== 'nothing') await post(id);
  await pool.query({ name: 'write', text: WRITE, values: [id] });
}

async function fill(queue) {
  let last = 0;
  for (;;) {
    const page = (await pool.query(READ, [last])).rows;
    if (!page.length) return;
    await queue.addBulk(page.map(({ id }) => ({ name: 'row', data: { id }, opts: { removeOnComplete: true } })));
    last = page[page.length - 1].id;
  }
}

async function main() {
  if (role === 'work') {
    const worker = new Worker('effects', work, { connection, concurrency: settings.concurrency });
    await worker.waitUntilReady();
    console.log('ready');
    return;
  }
  const queue = new Queue('effects', { connection });
  await queue.waitUntilReady();
  console.log('ready');
  await new Promise((go) => readline.createInterface({ input: process.stdin }).once('line', go));
  await fill(queue);
  process.exit(0);
}

main();
