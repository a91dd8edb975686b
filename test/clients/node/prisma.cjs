#!/usr/bin/env node
// Prisma: it has no optimistic lock of its own; a WHERE with the version finds no row (P2025), and
// an update that forgets it is caught by the guard.
const { PrismaClient } = require("@prisma/client");
const { PrismaPg } = require("@prisma/adapter-pg");
const { connection, ok, raises, stored, pay, bodies, run } = require("./tap.cjs");

// the constraint's name is in the message alone
const ILLEGAL = { code: "23514", message: "payguard_transition", detail: 'from "paid" to "unpaid"' };

run(async () => {
  const prisma = new PrismaClient({ adapter: new PrismaPg({ ...connection }) });
  const move = (status, version) => prisma.order.update({ where: { id: 1200, version }, data: { status, version: { increment: 1 } } });
  await move("paid", 1);
  ok(await stored(1200) === "paid 2", "a legal transition saves");
  await raises("PrismaClientKnownRequestError", { outer: "P2039", ...ILLEGAL }, "an illegal one", () => move("unpaid", 2));
  await raises("PrismaClientKnownRequestError", { outer: "P2034" }, "an update that forgets the version", () => prisma.order.update({ where: { id: 1200 }, data: { status: "refunded" } }));
  await raises("PrismaClientKnownRequestError", { outer: "P2034" }, "updateMany() that forgets it", () => prisma.order.updateMany({ where: { id: 1200 }, data: { status: "refunded" } }));
  await raises("PrismaClientKnownRequestError", { message: "payguard_delete" }, "delete()", () => prisma.order.delete({ where: { id: 1200 } }));
  await raises("PrismaClientKnownRequestError", { message: "payguard_initial" }, "create() of a paid row", () => prisma.order.create({ data: { id: 6200, status: "paid" } }));
  ok(await stored(1200) === "paid 2", "nothing of all that was written");
  await raises("PrismaClientKnownRequestError", { outer: "P2025" }, "a stale object", async () => {
    const old = await prisma.order.findUnique({ where: { id: 1200 } });
    await move("refunded", old.version);
    await move("refunded", old.version);
  });
  ok(await stored(1200) === "refunded 3", "the first of two was written");
  await pay("prisma", (sql) => prisma.$queryRawUnsafe(sql), "PrismaClientKnownRequestError", { outer: "P2010", code: "PY101", detail: "paid it at" });
  await bodies("Prisma", (sql, values) => prisma.$queryRawUnsafe(sql, ...values), "PrismaClientKnownRequestError");
});
