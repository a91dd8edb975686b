// A test of a shop on node-pg, by jest.
const { Client, Pool } = require("pg");

const settings = { host: "127.0.0.1", port: Number(process.env.PGPORT), user: "shop_test", database: "shop_test" };
const db = new Client(settings);

beforeAll(() => db.connect());
afterAll(() => db.end());

async function value(sql, ...values) {
  const { rows } = await db.query({ text: sql, values, rowMode: "array" });
  return rows[0][0];
}

describe("an order", () => {
  // each test is rolled back, so that all of them may use the same ids and keys
  beforeEach(async () => {
    await db.query("BEGIN");
    await value("SELECT status FROM payguard.create_order('A-1', 1999, 'EUR')");
  });
  afterEach(() => db.query("ROLLBACK"));

  test("is paid once", async () => {
    expect(await value("SELECT outcome FROM payguard.pay_order('A-1', $1)", "click-1")).toBe("paid");
    await db.query("SAVEPOINT refused"); // the test goes on after it
    await expect(value("SELECT outcome FROM payguard.pay_order('A-1', $1)", "click-2"))
      .rejects.toMatchObject({ code: "PY101", constraint: "order_already_paid" });
    await db.query("ROLLBACK TO refused");
    expect(await value("SELECT advice FROM payguard.order_status('A-1')")).toBe("paid");
  });

  test("is there for one test alone", async () => {
    expect(await value("SELECT status FROM payguard.order_status('A-1')")).toBe("unpaid");
  });
});

test("two clicks at once", async () => {
  const order = await value("SELECT payguard.new_order_id()"); // what commits takes an id that no other test has
  await value("SELECT status FROM payguard.create_order($1, 1999, 'EUR')", order);
  const pool = new Pool(settings);
  const clicks = [1, 2].map((n) => pool.query("SELECT outcome FROM payguard.try_pay_order($1, $2)", [order, `${order}/${n}`]));
  const outcomes = (await Promise.all(clicks)).map(({ rows }) => rows[0].outcome);
  expect(outcomes.sort()).toEqual(["order_already_paid", "paid"]);
  await pool.end();
});
