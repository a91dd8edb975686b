// Checkout and webhook in Node.js: "pool" is a pg.Pool with a listener, pool.on("error", …): without one Node ends when the
// server closes an idle connection. Nothing here opens a transaction of its own.
"use strict";
const { createHmac, timingSafeEqual } = require("node:crypto");

// What the page says where payguard refuses: by the CONSTRAINT of the error.
const REFUSED = {
  order_already_paid: { status: 200, state: "paid" },
  payment_in_progress: { status: 409, state: "wait" },       // another click, with another key
  payment_failed: { status: 402, state: "failed" },          // this key is spent: the form gets a new one
  order_id_reused: { status: 409, state: "changed" },        // the row has another price than payguard: update_order()
  amount_mismatch: { status: 409, state: "changed" },        // the page shows another price: it is made anew
  idempotency_key_reused: { status: 400, state: "key" },     // it is the key of another order
  order_closed: { status: 410, state: "closed" },
  order_not_found: { status: 404, state: "not found" },
};
const STATUS = { paid: 200, pending: 202, authorized: 202, capturing: 202, closing: 202, failed: 402 };

// channel.charge(number, amount, currency) takes money once for one number; channel.query(number) asks what became of it.
// The amount is a string of digits: node-pg's bigint. Both return { status, transaction, amount, currency }, the status in
// payguard's words, and need a time-out.
async function checkout(pool, channel, orderId, key) {
  if (!key) return { status: 400, state: "key" };
  let payment;
  try {
    await call(pool, `SELECT o.status FROM shop_orders s, payguard.create_order(
      s.id::text, payguard.minor_units(s.total, s.currency), s.currency, s.customer::text) o
      WHERE s.id = $1`, [orderId]);
    payment = await call(pool, "SELECT * FROM payguard.start_payment($1, $2, 'card')", [orderId, key]);
  } catch (error) {
    if (!REFUSED[error.constraint]) throw error;
    if (error.constraint === "order_already_paid") await follow(pool, orderId);     // a row that was left behind
    return REFUSED[error.constraint];
  }
  if (payment.outcome === "pending") {
    let answer;
    try {
      answer = payment.payment_status === "pending"
        ? await channel.charge(payment.payment_id, payment.amount, payment.currency)
        : await channel.query(payment.payment_id);
    } catch (error) {
      console.error("payment %s: no answer of the channel", payment.payment_id, error);
      answer = { status: "unknown" };                        // it may have been charged: never "failed"
    }
    payment = await call(pool, "SELECT * FROM payguard.report_payment($1, $2, $3, $4, $5)",
      [payment.payment_id, answer.status, answer.transaction, answer.amount, answer.currency]);
  }
  await follow(pool, orderId);
  return { status: STATUS[payment.outcome] ?? 409, state: payment.outcome };
}

// body: a Buffer with the bytes as they came (express.raw({ type: "*/*" })), since the signature is over them.
async function webhook(pool, secret, body, signature) {
  const expected = createHmac("sha256", secret).update(body).digest();
  const given = Buffer.from(signature ?? "", "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return { status: 400, state: "signature" };
  const record = (m) => call(pool, `SELECT * FROM payguard.record_notification('card', $1::bytea, $2, $3, $4,
    channel_status := $5, channel_txn_id := $6, amount := $7, currency := $8)`,
    [body, m.id, m.payment, m.refund, m.status, m.transaction, m.amount, m.currency]);
  let message;
  try {
    message = await record(Object(JSON.parse(body)));
  } catch (error) {
    if (!(error instanceof SyntaxError) && !/^22/.test(error.code)) throw error;
    message = await record({});                              // it is kept as it came, and a person is told
  }
  if (message.order_id) await follow(pool, message.order_id);
  return { status: 200, state: message.result };
}

// The shop's own row comes second. It can be done again at any time.
async function follow(pool, orderId) {
  await call(pool, `UPDATE shop_orders SET status = 'paid'
    WHERE id = $1 AND status = 'new' AND (SELECT status FROM payguard.order_status($1::text)) = 'paid'`, [orderId]);
}

// One statement is one transaction. It is repeated as it is, with the same key, where it was not done (40001, 55P03), and
// where nobody knows since the connection was lost.
async function call(pool, sql, values) {
  for (let pause = 50; ; pause *= 2) {
    try {
      return (await pool.query(sql, values)).rows[0];
    } catch (error) {
      const again = /^(40001|55P03|57P01|08\w{3}|ECONNRESET|EPIPE)$/.test(error.code) || /^Connection terminated/.test(error.message);
      if (!again || pause > 1000) throw error;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

module.exports = { checkout, webhook, call, REFUSED };     // the last two for a page of yours: cancel, refund, status
