'use strict';
// The roles and the measurement of probe.py, in Node.
const net = require('net');
const { Queue, Worker } = require('bullmq');

const NAP = 10, BATCH = 1000;
const role = process.argv[2], settings = JSON.parse(process.argv[3]);
const connection = { host: '127.0.0.1', port: settings.port, maxRetriesPerRequest: null };
const options = { removeOnComplete: true };
const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));
const say = (figures) => console.log(JSON.stringify(figures));

function serverCpu() {
  return new Promise((resolve) => {
    const socket = net.connect(settings.port, '127.0.0.1');
    let answer = '';
    socket.on('data', (data) => {
      answer += data;
      if (!answer.includes('used_cpu_user_main_thread')) return;
      socket.destroy();
      const value = (name) => Number(answer.match(new RegExp(`${name}:([0-9.]+)`))[1]);
      resolve(value('used_cpu_sys') + value('used_cpu_user'));
    });
    socket.write('INFO cpu\r\n');
  });
}

async function now() {
  const at = seconds(), used = process.cpuUsage();
  return [at, (used.user + used.system) / 1e6, await serverCpu()];
}

let count = 0, before = null;
const picked = new Map();

async function done() {
  count += 1;
  if (count === settings.warm) before = now();
  if (count !== settings.warm + settings.jobs) return;
  const after = await now(), from = await before;
  const spent = after.map((value, i) => value - from[i]);
  say({ jobs: settings.jobs, seconds: spent[0], worker_cpu: spent[1], server_cpu: spent[2] });
}

function pick(i) {
  const at = seconds();
  if (i === 0) { say({ ready: true }); return; }
  if (picked.has(i)) return;
  picked.set(i, at);
  if (picked.size === settings.warm + settings.jobs) say({ picked: [...picked.keys()].sort((a, b) => a - b).map((key) => picked.get(key)) });
}

const bodies = {
  noop: done,
  nap: async () => { await sleep(NAP); await done(); },
  pick: async (i) => pick(i),
};

async function fill(queue) {
  const began = seconds();
  for (let first = 0; first < settings.jobs; first += BATCH) {
    const batch = [];
    for (let i = first; i < Math.min(settings.jobs, first + BATCH); i++) batch.push({ name: settings.kind, data: { i }, opts: options });
    await queue.addBulk(batch);
  }
  say({ jobs: settings.jobs, seconds: seconds() - began });
}

async function trickle(queue) {
  const sent = [];
  let due = seconds();
  for (let i = 1; i <= settings.warm + settings.jobs; i++) {
    due += settings.pause;
    await sleep(Math.max(0, (due - seconds()) * 1000));
    sent.push(seconds());
    await queue.add(settings.kind, { i }, options);
  }
  say({ sent });
}

async function main() {
  if (role === 'work') {
    new Worker('bench', async (job) => bodies[job.name](job.data.i), { connection, concurrency: settings.concurrency });
    return;
  }
  const queue = new Queue('bench', { connection });
  await (role === 'fill' ? fill(queue) : trickle(queue));
  await queue.close();
}

main();
