// What the clients in JavaScript share: TAP, and a connection that looks at what is stored.
const { Client } = require("pg");

const connection = { host: "127.0.0.1", port: Number(process.env.PGPORT), user: "shop", database: "postgres" };
let count = 0;
let failed = 0;

function ok(good, name) {
  count++;
  if (!good) failed++;
  console.log(`${good ? "ok" : "not ok"} ${count} - ${name}`);
}

// The server's error, however deep the client has wrapped it.
function server(error, depth = 0) {
  if (!error || depth > 6) return null;
  if (typeof error.code === "string" && /^[0-9A-Z]{5}$/.test(error.code) && !/^P\d{4}$/.test(error.code)) return error;
  for (const key of ["driverError", "original", "parent", "cause", "meta", "previous", "driverAdapterError"]) {
    const found = server(error[key], depth + 1);
    if (found) return found;
  }
  return null;
}

// The action must raise an error of this name (its class or one above), and the server's error
// must have these fields; outer: the client's own code.
async function raises(name, expected, what, action) {
  try {
    await action();
  } catch (error) {
    const classes = [];
    for (let p = Object.getPrototypeOf(error); p && p !== Object.prototype; p = Object.getPrototypeOf(p)) classes.push(p.constructor.name);
    classes.push(error.name);
    const cause = server(error) || {};
    const good = classes.includes(name) && Object.entries(expected).every(([key, value]) =>
      key === "outer" ? error.code === value
        : key === "message" || key === "detail" ? String(key === "message" ? error.message : cause.detail).includes(value)
          : cause[key] === value);
    ok(good, `${what}: ${classes[0]}${good ? "" : ` ${classes} ${error.message} ${JSON.stringify(cause)}`}`);
    return;
  }
  ok(false, `${what}: no error`);
}

async function stored(id) {
  const db = new Client(connection);
  await db.connect();
  const { rows } = await db.query("SELECT status, version FROM shop_orders WHERE id = $1", [id]);
  await db.end();
  return rows.length ? `${rows[0].status} ${rows[0].version}` : "none";
}

const TRANSITION = { code: "23514", constraint: "payguard_transition", detail: 'from "paid" to "unpaid"' };
const VERSION = { code: "40001", constraint: "payguard_version" };
const DELETE = { code: "23514", constraint: "payguard_delete" };
const INITIAL = { code: "23514", constraint: "payguard_initial" };
const PAID = { code: "PY101", constraint: "order_already_paid", detail: "paid it at" };

// query(sql) returns the rows
async function pay(order, query, error, expected = PAID) {
  await query(`SELECT status FROM payguard.create_order('${order}', 5, 'EUR')`);
  const rows = await query(`SELECT outcome FROM payguard.pay_order('${order}', '${order}')`);
  ok(rows[0].outcome === "paid", "pay_order()");
  await raises(error, expected, "a second payment", () => query(`SELECT outcome FROM payguard.pay_order('${order}', 'another')`));
}

function run(main) {
  main().then(() => {
    console.log(`1..${count}`);
    process.exit(failed ? 1 : 0);
  }, (error) => {
    console.log(`not ok ${count + 1} - ${error.stack.replace(/\n/g, "\n# ")}`);
    process.exit(1);
  });
}

module.exports = { connection, ok, raises, stored, pay, run, TRANSITION, VERSION, DELETE, INITIAL, PAID };
