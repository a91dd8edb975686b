#!/usr/bin/ruby
# ActiveRecord: a model with lock_version, here the column "version".
require "active_record"

ID = 400
ActiveRecord::Base.establish_connection(adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"],
                                        username: "shop", database: "postgres")

class Order < ActiveRecord::Base
  self.table_name = "shop_orders"
  self.locking_column = "version"
end

$count = 0
$failed = 0

def ok(good, name)
  $count += 1
  $failed += 1 unless good
  puts "#{good ? 'ok' : 'not ok'} #{$count} - #{name}"
end

# The block must raise this class, and the error must be as expected.
def raises(expected, name)
  yield
  ok(false, "#{name}: no error")
rescue StandardError => error
  field = ->(code) { error.cause.respond_to?(:result) && error.cause.result ? error.cause.result.error_field(code) : nil }
  fits = error.is_a?(expected.fetch(:error)) &&
         (!expected[:code] || field.call(PG::Result::PG_DIAG_SQLSTATE) == expected[:code]) &&
         (!expected[:constraint] || field.call(PG::Result::PG_DIAG_CONSTRAINT_NAME) == expected[:constraint]) &&
         (!expected[:detail] || field.call(PG::Result::PG_DIAG_MESSAGE_DETAIL).include?(expected[:detail]))
  ok(fits, "#{name}: #{error.class}#{fits ? '' : ": #{error.message}"}")
end

def stored
  Order.connection.select_rows("SELECT status, version FROM shop_orders WHERE id = #{ID}").first
end

def move(to)
  order = Order.find(ID)
  order.status = to
  order.save!
end

ok(move("paid") && stored == ["paid", 2], "a legal transition saves")
raises({ error: ActiveRecord::StatementInvalid, code: "23514", constraint: "payguard_transition",
         detail: 'from "paid" to "unpaid"' }, "an illegal one") { move("unpaid") }
raises({ error: ActiveRecord::StatementInvalid, code: "23514" }, "save without !") do
  Order.find(ID).tap { |order| order.status = "unpaid" }.save
end
raises({ error: ActiveRecord::SerializationFailure, code: "40001", constraint: "payguard_version" },
       "update_all in SQL that forgets the version") { Order.where(id: ID).update_all("status = 'refunded'") }
raises({ error: ActiveRecord::StatementInvalid, constraint: "payguard_delete" }, "destroy") { Order.find(ID).destroy }
raises({ error: ActiveRecord::StatementInvalid, constraint: "payguard_initial" }, "create! of a paid row") do
  Order.create!(id: ID + 5000, status: "paid", amount: 5)
end
ok(stored == ["paid", 2], "nothing of all that was written")
raises({ error: ActiveRecord::StaleObjectError }, "a stale object") do
  old = Order.find(ID)
  move("refunded")
  old.status = "refunded"
  old.save!
end
ok(stored == ["refunded", 3], "the first of two was written")

db = Order.connection
db.select_rows("SELECT status FROM payguard.create_order('activerecord', 5, 'EUR')")
ok(db.select_rows("SELECT outcome, replayed FROM payguard.pay_order('activerecord', 'activerecord')") == [["paid", false]],
   "pay_order()")
raises({ error: ActiveRecord::StatementInvalid, code: "PY101", detail: "paid it at" }, "a second payment") do
  db.select_rows("SELECT outcome FROM payguard.pay_order('activerecord', 'another')")
end

# A body of bytes is bound as binary; a text as it is.
def record(channel, body, type)
  binds = [ActiveRecord::Relation::QueryAttribute.new("channel", channel, ActiveRecord::Type::String.new),
           ActiveRecord::Relation::QueryAttribute.new("body", body, type)]
  Order.connection.select_rows("SELECT result FROM payguard.record_notification($1, $2#{'::bytea' if type.binary?})",
                               "message", binds).first.first
end

def latest
  Order.connection.select_rows("SELECT encode(body, 'hex') FROM payguard.notifications WHERE channel = 'ActiveRecord'
                                ORDER BY received_at DESC LIMIT 1").first.first
end

text, bytes = ActiveRecord::Type::String.new, ActiveRecord::Type::Binary.new
lines = File.readlines("#{ENV['PAYGUARD_SRC']}/test/clients/bodies.txt", chomp: true).reject { |line| line.start_with?("#") }
lines.each do |line|
  kind, code, what = line.split(" ", 3)
  body = [code].pack("H*")
  as_text = kind == "text" ? record("ActiveRecord", body.dup.force_encoding("UTF-8"), text) : record("ActiveRecord", body, bytes)
  results = [as_text, record("ActiveRecord", body, bytes)]
  ok(results == ["unmatched", "duplicate"] && latest == code, "a body with #{what}: #{results} #{latest}")
end
raises({ error: ArgumentError }, "a NUL in a text") { record("ActiveRecord", "a\0b", text) }
raises({ error: ActiveRecord::StatementInvalid, code: "22021" }, "GBK as a text") do
  record("ActiveRecord", "\xD6\xA7\xB8\xB6\xB3\xC9\xB9\xA6".dup.force_encoding("UTF-8"), text)
end
ok(latest == lines.last.split(" ")[1], "neither is kept")
puts "1..#{$count}"
exit($failed == 0)
