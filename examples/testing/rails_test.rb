# A test of a shop in Rails. In a Rails application `require "test_helper"` stands for these lines.
require "active_record"
require "active_support/test_case"
require "minitest/autorun"

ActiveRecord::Base.establish_connection(adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"],
                                        username: "shop_test", database: "shop_test")

class ActiveSupport::TestCase
  include ActiveRecord::TestFixtures
  self.use_transactional_tests = true
end

class PaymentTest < ActiveSupport::TestCase
  setup { call("SELECT status FROM payguard.create_order('A-1', 1999, 'EUR')") }

  def call(sql, *values)
    ActiveRecord::Base.connection.select_value(ActiveRecord::Base.sanitize_sql([sql, *values]))
  end

  test "an order is paid once" do
    assert_equal "paid", call("SELECT outcome FROM payguard.pay_order(?, ?)", "A-1", "click-1")
    refused = assert_raises(ActiveRecord::StatementInvalid) do
      ActiveRecord::Base.transaction(requires_new: true) do      # a savepoint: the test goes on after it
        call("SELECT outcome FROM payguard.pay_order(?, ?)", "A-1", "click-2")
      end
    end
    assert_equal "order_already_paid", refused.cause.result.error_field(PG::PG_DIAG_CONSTRAINT_NAME)
    assert_equal "paid", call("SELECT advice FROM payguard.order_status(?)", "A-1")
  end

  test "nothing is left of another test" do
    assert_equal "unpaid", call("SELECT status FROM payguard.order_status(?)", "A-1")
  end
end

class TwoClicksTest < ActiveSupport::TestCase
  self.use_transactional_tests = false      # what commits takes an id that no other test has

  test "two clicks at once" do
    order = ActiveRecord::Base.connection.select_value("SELECT payguard.new_order_id()")
    ActiveRecord::Base.connection.select_value("SELECT status FROM payguard.create_order('#{order}', 1999, 'EUR')")
    clicks = [1, 2].map do |n|
      Thread.new do
        ActiveRecord::Base.connection_pool.with_connection do |db|
          db.select_value("SELECT outcome FROM payguard.try_pay_order('#{order}', '#{order}/#{n}')")
        end
      end
    end
    assert_equal %w[order_already_paid paid], clicks.map(&:value).sort
  end
end
