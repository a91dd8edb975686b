// The queue of payguard beside pg-boss, graphile-worker and PgQ: one server, one client program,
// a database for each, taken in turns. Each system is used by the calls that its documentation
// gives to a worker. One at a time: one connection, graphile-worker's runner apart, which has a
// pool. In batches: two workers with a connection each for payguard and pg-boss, the runner with
// 100 jobs at once for graphile-worker, one consumer for PgQ, which has no more. Rates are tasks
// a second.
'use strict';
const { Pool, Client } = require('pg');
const PgBoss = require('pg-boss');
const graphile = require('graphile-worker');
const os = require('os');

const SHORT = !!process.env.PAYGUARD_SHORT;
const ROUNDS = Number(process.env.PAYGUARD_ROUNDS || (SHORT ? 2 : 3));
const SINGLE = SHORT ? 200 : 1000; // tasks of a measurement, one at a time
const MANY = SHORT ? 3000 : 10000; // in batches
const BATCH = 100;
const BACKLOG = Number(process.env.PAYGUARD_BACKLOG || (SHORT ? 20000 : 1000000));
const DEAD = Number(process.env.PAYGUARD_DEAD || (SHORT ? 10000 : 500000));
const OLD_SECONDS = Number(process.env.PAYGUARD_OLD || (SHORT ? 6 : 60));
const LOOP_SECONDS = SHORT ? 3 : 8;

const seconds = () => Number(process.hrtime.bigint()) / 1e9;
const payload = (i) => ({ order_id: `o${i}`, amount: 1000 });

// A connection to a database of its own; pg-boss and graphile-worker have theirs beside it.
async function database(name) {
  const admin = new Client({ database: 'postgres' });
  await admin.connect();
  await admin.query(`CREATE DATABASE ${name}`);
  await admin.end();
  const client = new Client({ database: name });
  await client.connect();
  return client;
}

// Prepared once, as a worker would do it.
const prepared = (client, name, text, values) => client.query({ name, text, values });

class Payguard {
  static title = 'payguard';
  async open(name) {
    this.client = await database(name);
    this.second = new Client({ database: name });
    await this.second.connect();
    this.n = 0; // orders so far
    await this.client.query('CREATE EXTENSION payguard');
    await this.client.query(
      `SELECT payguard.register_channel('shop', first_query_after => '1 day', max_query_interval => '1 day')`);
    await this.client.query(
      `SELECT payguard.register_channel('soon', first_query_after => '30 s', max_query_interval => '30 s')`);
  }
  async orders(n) {
    await this.client.query(
      `SELECT count(payguard.create_order('o' || i, 1000, 'EUR')) FROM generate_series($1::int, $2::int) i`,
      [this.n + 1, this.n + n]);
    this.n += n;
    return this.n - n;
  }
  async beforeEnqueue(n) { this.from = await this.orders(n); }
  async enqueue(n) {
    for (let i = this.from + 1; i <= this.from + n; i++)
      await prepared(this.client, 'request', `SELECT payguard.request_payment($1, $2, 'shop', details => $3)`,
        [`o${i}`, `k${i}`, payload(i)]);
  }
  async afterEnqueue() {
    do {
      this.charges = await this.claim(1000, ['charge']);
      await this.succeed();
    } while (this.charges.length);
  }
  // Queries that are due, as start_payment() makes them.
  async fill(n) {
    const from = await this.orders(n);
    await this.client.query(
      `SELECT count(payguard.start_payment('o' || i, 'k' || i, 'shop', details =>
         jsonb_build_object('order_id', 'o' || i, 'amount', 1000))) FROM generate_series($1::int, $2::int) i`,
      [from + 1, from + n]);
    await this.client.query(
      `SELECT count(payguard.query_payment(payment_id)) FROM payguard.payments
       WHERE idempotency_key IN (SELECT 'k' || i FROM generate_series($1::int, $2::int) i)`, [from + 1, from + n]);
  }
  // Many of them, by the rows that those calls leave.
  async backlog(n, channel = 'shop') {
    const values = [this.n + 1, this.n + n];
    const rows = [...values, channel];
    this.n += n;
    await this.client.query(
      `INSERT INTO payguard.orders (order_id, amount, currency, status, version, refunded_amount, created_at, updated_at)
       SELECT 'o' || i, 1000, 'EUR', 'paying', 2, 0, now(), now() FROM generate_series($1::int, $2::int) i`, values);
    await this.client.query(
      `INSERT INTO payguard.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
         amount_verified, status, order_version, request_kind, created_at, details)
       SELECT ('0197' || lpad(to_hex(i), 8, '0') || '70008000000000000000')::uuid, 'o' || i, 'k' || i, $3, 1000, 'EUR',
         false, 'pending', 2, 'start', now(), jsonb_build_object('order_id', 'o' || i, 'amount', 1000)
       FROM generate_series($1::int, $2::int) i`, rows);
    await this.client.query(
      `INSERT INTO payguard.tasks (kind, order_id, payment_id, channel, run_at, tries, sent, again, created_at)
       SELECT 'query', 'o' || i, ('0197' || lpad(to_hex(i), 8, '0') || '70008000000000000000')::uuid, $3,
         clock_timestamp() - interval '1 hour', 0, false, false, now() FROM generate_series($1::int, $2::int) i`, rows);
  }
  async claim(n, kinds, client = this.client) {
    const { rows } = await prepared(client, 'claim',
      `SELECT task_id, lease_token, order_id, amount, details FROM payguard.claim_tasks('w', $1, kinds => $2)`, [n, kinds]);
    return rows;
  }
  async single(n) {
    for (let i = 0; i < n; i++) {
      const [task] = await this.claim(1, ['query']);
      await prepared(this.client, 'complete', `SELECT outcome FROM payguard.complete_task($1, $2, 'pending')`,
        [task.task_id, task.lease_token]);
    }
  }
  async once(max, client = this.client) {
    const tasks = await this.claim(max, ['query'], client);
    if (tasks.length)
      await prepared(client, 'complete all',
        `SELECT outcome FROM payguard.complete_tasks(ARRAY(
           SELECT ROW(t, l, 'pending', NULL, NULL, NULL, NULL, NULL)::payguard.task_answer
           FROM unnest($1::bigint[], $2::uuid[]) a (t, l)))`,
        [tasks.map((t) => t.task_id), tasks.map((t) => t.lease_token)]);
    return tasks.length;
  }
  async batches(n) {
    let done = 0;
    const worker = async (client) => { while (done < n) { const k = await this.once(BATCH, client); done += k; } };
    await Promise.all([worker(this.client), worker(this.second)]);
  }
  async consume(n) { for (let done = 0; done < n;) done += await this.once(1000); }
  // An answered query comes back by itself, here after 30 s: that is its enqueueing.
  async beforeLoop() { await this.backlog(SHORT ? 200000 : 600000, 'soon'); }
  async cycle() { const n = await Promise.all([this.once(BATCH), this.once(BATCH, this.second)]); return n[0] + n[1]; }
  // Charges that are answered "succeeded", and as many orders paid by pay_orders().
  async beforeSuccess(n) {
    const from = await this.orders(n);
    await this.client.query(
      `SELECT count(payguard.request_payment('o' || i, 'k' || i, 'shop')) FROM generate_series($1::int, $2::int) i`,
      [from + 1, from + n]);
    this.from = await this.orders(n);
    this.charges = [];
    while (this.charges.length < n)
      this.charges.push(await this.claim(BATCH, ['charge'])), this.charges = this.charges.flat();
  }
  async succeed() {
    for (let i = 0; i < this.charges.length; i += BATCH) {
      const some = this.charges.slice(i, i + BATCH);
      await prepared(this.client, 'succeed',
        `SELECT outcome FROM payguard.complete_tasks(ARRAY(
           SELECT ROW(t, l, 'succeeded', x, 1000, 'EUR', NULL, NULL)::payguard.task_answer
           FROM unnest($1::bigint[], $2::uuid[], $3::text[]) a (t, l, x)))`,
        [some.map((t) => t.task_id), some.map((t) => t.lease_token), some.map((t) => `t-${t.order_id}`)]);
    }
  }
  async payOrders(n) {
    for (let i = this.from; i < this.from + n; i += BATCH) {
      const ids = Array.from({ length: BATCH }, (_, j) => `o${i + j + 1}`);
      await prepared(this.client, 'pay',
        `SELECT outcome FROM payguard.pay_orders(ARRAY(
           SELECT ROW(o, 'p' || o, 1000, 'EUR', NULL, 'internal')::payguard.pay_request FROM unnest($1::text[]) o))`, [ids]);
    }
  }
  async version() { return (await this.client.query(`SELECT extversion v FROM pg_extension WHERE extname = 'payguard'`)).rows[0].v; }
}

class Boss {
  static title = 'pg-boss';
  async open(name) {
    this.client = await database(name);
    this.boss = new PgBoss({ database: name, host: process.env.PGHOST, user: 'postgres', max: 2, schedule: false, supervise: false });
    this.boss.on('error', (e) => { throw e; });
    await this.boss.start();
    await this.boss.createQueue('q');
    this.n = 0;
  }
  async beforeEnqueue() {}
  async enqueue(n) { for (let i = 0; i < n; i++) await this.boss.send('q', payload(++this.n)); }
  async afterEnqueue(n) { await this.consume(n); }
  async fill(n) { return this.backlog(n); }
  async backlog(n) {
    for (let i = 0; i < n; i += 10000)
      await this.boss.insert(Array.from({ length: Math.min(10000, n - i) }, () => ({ name: 'q', data: payload(++this.n) })));
  }
  async single(n) {
    for (let i = 0; i < n; i++) {
      const [job] = await this.boss.fetch('q');
      await this.boss.complete('q', job.id);
    }
  }
  async once(max) {
    const jobs = await this.boss.fetch('q', { batchSize: max });
    if (jobs.length) await this.boss.complete('q', jobs.map((j) => j.id));
    return jobs.length;
  }
  async batches(n) {
    let done = 0;
    const worker = async () => { while (done < n) { const k = await this.once(BATCH); done += k; } };
    await Promise.all([worker(), worker()]);
  }
  // Dead rows, as its completion leaves them.
  async consume(n) { await this.client.query(
    `UPDATE pgboss.job SET state = 'completed', completed_on = now() WHERE id IN
     (SELECT id FROM pgboss.job WHERE name = 'q' AND state = 'created' ORDER BY created_on LIMIT $1)`, [n]); }
  async beforeLoop() {}
  async cycle() {
    const n = await Promise.all([1, 2].map(async () => { await this.backlog(BATCH); return this.once(BATCH); }));
    return n[0] + n[1];
  }
  async version() { return require('pg-boss/package.json').version; }
}

class Graphile {
  static title = 'graphile-worker';
  async open(name) {
    this.client = await database(name);
    this.pool = new Pool({ database: name, max: 12 });
    this.pool.on('error', () => {});
    this.logger = new graphile.Logger(() => () => {});
    this.utils = await graphile.makeWorkerUtils({ pgPool: this.pool, logger: this.logger });
    await this.utils.migrate();
    this.n = 0;
    this.done = 0;
    this.taskList = { mark: async () => { this.done++; if (this.done === this.until) this.reached(); } };
  }
  async beforeEnqueue() {}
  async enqueue(n) { for (let i = 0; i < n; i++) await this.utils.addJob('mark', payload(++this.n)); }
  async afterEnqueue(n) { await this.consume(n); }
  async fill(n) { return this.backlog(n); }
  async backlog(n) {
    for (let i = 0; i < n; i += 10000)
      await this.utils.addJobs(Array.from({ length: Math.min(10000, n - i) },
        () => ({ identifier: 'mark', payload: payload(++this.n) })));
  }
  // Its runner works until so many tasks are done.
  async runFor(n, worker) {
    this.until = this.done + n;
    const all = new Promise((resolve) => { this.reached = resolve; });
    const runner = await graphile.run({
      pgPool: this.pool, taskList: this.taskList, logger: this.logger, noHandleSignals: true,
      preset: { worker: { pollInterval: 100, ...worker } } });
    await all;
    // its acknowledgements lag behind its tasks: they are all in when it has stopped
    await runner.stop().catch(() => {});
    await runner.promise.catch(() => {});
  }
  async single(n) { return this.runFor(n, { concurrentJobs: 1 }); }
  async batches(n) {
    return this.runFor(n, { concurrentJobs: BATCH, completeJobBatchDelay: 0, localQueue: { size: 2 * BATCH } });
  }
  // Dead rows, as its completion leaves them.
  async consume(n) { await this.client.query(
    `DELETE FROM graphile_worker._private_jobs WHERE id IN (SELECT id FROM graphile_worker._private_jobs ORDER BY id LIMIT $1)`, [n]); }
  async beforeLoop() {}
  async loop(until) {
    const from = this.done;
    this.until = -1;
    const runner = await graphile.run({
      pgPool: this.pool, taskList: this.taskList, logger: this.logger, noHandleSignals: true,
      preset: { worker: { pollInterval: 20, concurrentJobs: BATCH, completeJobBatchDelay: 0, localQueue: { size: 2 * BATCH } } } });
    const marks = [];
    let added = this.done;
    while (seconds() < until) {
      if (added - this.done < 4 * BATCH) { await this.backlog(BATCH); added += BATCH; }
      else await new Promise((r) => setTimeout(r, 1));
      marks.push([seconds(), this.done - from]);
    }
    await runner.stop().catch(() => {});
    await runner.promise.catch(() => {});
    return marks;
  }
  async version() { return require('graphile-worker/package.json').version; }
}

class Pgq {
  static title = 'PgQ';
  async open(name) {
    this.client = await database(name);
    await this.client.query('CREATE EXTENSION pgq');
    await this.client.query(`SELECT pgq.create_queue('q'), pgq.register_consumer('q', 'c')`);
    await this.client.query(`UPDATE pgq.queue SET queue_ticker_max_count = 1, queue_ticker_max_lag = '0', queue_ticker_idle_period = '0'`);
    this.n = 0;
    this.size = BATCH;
    await this.tick();
    for (;;) { const b = await this.next(); if (b === null) break; await this.finish(b); }
  }
  async tick() { await this.client.query(`SELECT pgq.force_tick('q')`); await this.client.query(`SELECT pgq.ticker('q')`); }
  async beforeEnqueue() {}
  async enqueue(n) {
    for (let i = 0; i < n; i++)
      await prepared(this.client, 'insert', `SELECT pgq.insert_event('q', 'mark', $1)`, [JSON.stringify(payload(++this.n))]);
  }
  async afterEnqueue() { await this.tick(); await this.consume(Infinity); }
  // A batch is what lies between two ticks.
  async fill(n, size = BATCH) {
    for (let i = 0; i < n; i += size) {
      await prepared(this.client, 'insert many',
        `SELECT count(pgq.insert_event('q', 'mark', json_build_object('order_id', 'o' || i, 'amount', 1000)::text))
         FROM generate_series(1, $1::int) i`, [Math.min(size, n - i)]);
      await this.tick();
    }
  }
  // Its batches are cut when events come in: small ones at the head, for what is measured.
  async backlog(n) {
    const head = Math.min(n, MANY * ROUNDS);
    await this.fill(head);
    if (n > head) await this.fill(n - head, 10000);
  }
  async next() { return (await prepared(this.client, 'next', `SELECT pgq.next_batch('q', 'c') b`)).rows[0].b; }
  async finish(b) { await prepared(this.client, 'finish', `SELECT pgq.finish_batch($1)`, [b]); }
  async once() {
    const b = await this.next();
    if (b === null) return 0;
    const { rows } = await prepared(this.client, 'events', `SELECT ev_id, ev_type, ev_data FROM pgq.get_batch_events($1)`, [b]);
    for (const row of rows) JSON.parse(row.ev_data);
    await this.finish(b);
    return rows.length;
  }
  async single(n) { for (let done = 0; done < n;) done += await this.once(); }
  async batches(n) { return this.single(n); }
  async consume(n) { let idle = 0; for (let done = 0; done < n && idle < 2;) { const k = await this.once(); idle = k ? 0 : idle + 1; done += k; } }
  async beforeLoop() {}
  async cycle() { await this.fill(BATCH); return this.once(); }
  async version() { return (await this.client.query(`SELECT extversion v FROM pg_extension WHERE extname = 'pgq'`)).rows[0].v; }
}

const SYSTEMS = [Payguard, Boss, Graphile, Pgq];
const results = new Map(); // row → title → rates
function note(row, title, rate) {
  if (!results.has(row)) results.set(row, new Map());
  const of = results.get(row);
  if (!of.has(title)) of.set(title, []);
  of.get(title).push(rate);
  process.stderr.write(`${row} | ${title}: ${Math.round(rate)}\n`);
}
async function timed(row, system, n, work) {
  const t = seconds();
  await work();
  note(row, system.constructor.title, n / (seconds() - t));
}

async function open(suffix) {
  const systems = [];
  for (const System of SYSTEMS) {
    const system = new System();
    await system.open(`${System.name.toLowerCase()}_${suffix}`);
    systems.push(system);
  }
  return systems;
}
// What is measured is over: autovacuum shall not work at it beside the next rows.
async function drop(systems) {
  const admin = new Client({ database: 'postgres' });
  await admin.connect();
  for (const s of systems) {
    const name = s.client.database;
    await s.old?.end();
    await s.second?.end();
    await s.boss?.stop({ graceful: false });
    await s.pool?.end();
    await s.client.end();
    await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
  }
  await admin.end();
}
// While old snapshots are held it can remove nothing, and would take a core from whoever is measured.
async function setAutovacuum(client, on) {
  await client.query(`ALTER SYSTEM SET autovacuum = ${on ? 'on' : 'off'}`);
  await client.query('SELECT pg_reload_conf()');
}
const inTurns = (systems, round) => systems.map((_, i) => systems[(i + round) % systems.length]);
const tidy = (system) => system.client.query('VACUUM ANALYZE');

// A transaction that has taken its snapshot and stays open.
async function oldSnapshot(system) {
  const client = new Client({ database: system.client.database });
  await client.connect();
  await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
  await client.query('SELECT pg_current_xact_id(), count(*) FROM pg_class');
  return client;
}

async function loop(system, length) {
  const until = seconds() + length;
  if (system.loop) return system.loop(until);
  const marks = [];
  let done = 0;
  while (seconds() < until) { done += await system.cycle(); marks.push([seconds(), done]); }
  return marks;
}
// The rate of the last seconds of a loop.
function lastRate(marks, length) {
  const [end, done] = marks[marks.length - 1];
  const first = marks.find(([t]) => t >= end - length);
  return (done - first[1]) / (end - first[0]);
}

const median = (a) => [...a].sort((x, y) => x - y)[Math.floor(a.length / 2)];

async function main() {
  const clean = await open('clean');
  for (let round = 0; round < ROUNDS; round++) {
    for (const s of inTurns(clean, round)) {
      await s.beforeEnqueue(SINGLE);
      await timed('enqueue', s, SINGLE, () => s.enqueue(SINGLE));
      await s.afterEnqueue(SINGLE);
    }
    for (const s of inTurns(clean, round)) {
      await (s instanceof Pgq ? s.fill(SINGLE, 1) : s.fill(SINGLE));
      await timed('claim and ack, one at a time', s, SINGLE, () => s.single(SINGLE));
    }
    for (const s of inTurns(clean, round)) {
      await s.fill(MANY);
      await tidy(s);
      await timed('claim and ack, batches of 100', s, MANY, () => s.batches(MANY));
    }
    const s = clean[0];
    await s.beforeSuccess(MANY);
    await tidy(s);
    const pair = [() => timed('complete_tasks, succeeded', s, MANY, () => s.succeed()),
                  () => timed('pay_orders', s, MANY, () => s.payOrders(MANY))];
    for (const work of round % 2 ? pair.reverse() : pair) await work();
  }

  const backlog = await open('backlog');
  for (const s of backlog) { await s.backlog(BACKLOG); await tidy(s); }
  for (let round = 0; round < ROUNDS; round++)
    for (const s of inTurns(backlog, round))
      await timed(`batches, backlog ${BACKLOG}`, s, MANY, () => s.batches(MANY));
  await drop(backlog);

  const dead = await open('dead');
  await setAutovacuum(dead[0].client, false);
  for (const s of dead) {
    await s.backlog(DEAD);
    await tidy(s);
    s.old = await oldSnapshot(s);
    await s.consume(DEAD);
    await s.backlog((MANY + 2 * BATCH) * ROUNDS); // two workers may take a batch too many
    await s.client.query('ANALYZE');
  }
  for (let round = 0; round < ROUNDS; round++)
    for (const s of inTurns(dead, round))
      await timed(`batches, ${DEAD} dead rows at the head`, s, MANY, () => s.batches(MANY));
  await setAutovacuum(dead[0].client, true);
  await drop(dead);

  for (const s of clean) {
    await s.beforeLoop();
    await tidy(s);
    note('loop, clean', s.constructor.title, lastRate(await loop(s, LOOP_SECONDS), LOOP_SECONDS / 2));
    await tidy(s);
    const old = await oldSnapshot(s);
    note(`loop, ${OLD_SECONDS} s beside an old snapshot`, s.constructor.title,
      lastRate(await loop(s, OLD_SECONDS), LOOP_SECONDS / 2));
    await old.end();
  }
  await report(clean);
  process.exit(0);
}

async function report(clean) {
  const titles = SYSTEMS.map((S) => S.title);
  const versions = await Promise.all(clean.map((s) => s.version()));
  const { rows: [{ v, c, f }] } = await clean[0].client.query(
    `SELECT current_setting('server_version') v, current_setting('synchronous_commit') c, current_setting('fsync') f`);
  const out = (line) => process.stdout.write(line + '\n');
  out(`\n${new Date().toISOString().slice(0, 10)}; PostgreSQL ${v}, synchronous_commit = ${c}, fsync = ${f}; node ${process.version}; ` +
    titles.map((t, i) => `${t} ${versions[i]}`).join(', ') +
    `; ${os.cpus().length} cores, load average ${os.loadavg()[2].toFixed(1)} over the last 15 minutes` +
    `; medians of ${ROUNDS} interleaved rounds (lowest-highest), tasks a second\n`);
  out(`| | ${titles.join(' | ')} |`);
  out(`|---|${titles.map(() => '--:').join('|')}|`);
  for (const [row, of] of results)
    out(`| ${row} | ` + titles.map((t) => {
      const a = of.get(t);
      if (!a) return '–';
      const [low, high] = [Math.min(...a), Math.max(...a)].map(Math.round);
      return a.length > 1 ? `${Math.round(median(a))} (${low}–${high})` : `${Math.round(a[0])}`;
    }).join(' | ') + ' |');
  const of = (row) => median(results.get(row).get('payguard'));
  const find = (text) => [...results.keys()].find((k) => k.includes(text));
  out(`\npayguard: complete_tasks/pay_orders ${(of('complete_tasks, succeeded') / of('pay_orders')).toFixed(2)}; ` +
    `dead rows/clean ${(of(find('dead rows')) / of('claim and ack, batches of 100')).toFixed(2)}; ` +
    `old snapshot/clean ${(of(find('old snapshot')) / of('loop, clean')).toFixed(2)}`);
}

main().catch((e) => { console.error(e); process.exit(1); });
