# Checkout and webhook with ActiveRecord, for a Rails controller:
#
#   def create                                       # POST /orders/:id/payment, the key is in the form
#     status, state = Payments.new(CHANNEL).checkout(params[:id], params[:key])
#     render json: { state: state }, status: status
#   end
#
#   def webhook                                      # with skip_forgery_protection
#     head Payments.new(CHANNEL).webhook(request.raw_post, request.headers["Signature"], SECRET).first
#   end
require "active_record"
require "json"
require "openssl"

class Payments
  # What the page says where payguard refuses: by the CONSTRAINT of the error.
  REFUSED = {
    "order_already_paid" => [200, "paid"],
    "payment_in_progress" => [409, "wait"],     # another click, with another key
    "payment_failed" => [402, "failed"],        # this key is spent: the form gets a new one
    "order_id_reused" => [409, "changed"],      # the row has another price than payguard: update_order()
    "amount_mismatch" => [409, "changed"],      # the page shows another price: it is made anew
    "idempotency_key_reused" => [400, "key"],   # it is the key of another order
    "order_closed" => [410, "closed"],
    "order_not_found" => [404, "not found"]
  }.freeze
  STATUS = { "paid" => 200, "pending" => 202, "authorized" => 202, "capturing" => 202, "closing" => 202, "failed" => 402 }.freeze
  Bytes = ActiveRecord::Type::Binary.new

  # channel.charge(number, amount, currency) takes money once for one number, channel.query(number) asks what became of it.
  # Both return [status, transaction, amount, currency], the status in payguard's words, and need a time-out.
  def initialize(channel)
    @channel = channel
  end

  def checkout(order_id, key)
    return [400, "key"] if key.to_s.empty?

    begin
      call("SELECT o.status FROM shop_orders s, payguard.create_order(
              s.id::text, payguard.minor_units(s.total, s.currency), s.currency, s.customer::text) o
              WHERE s.id = $1", order_id)
      payment = call("SELECT * FROM payguard.start_payment($1, $2, 'card')", order_id, key)
    rescue ActiveRecord::StatementInvalid => error
      name = field(error, PG::PG_DIAG_CONSTRAINT_NAME)
      raise unless REFUSED.key?(name)
      follow(order_id) if name == "order_already_paid"     # a row that was left behind
      return REFUSED[name]
    end
    if payment["outcome"] == "pending"
      number, amount, currency = payment.values_at("payment_id", "amount", "currency")
      answer = begin
        payment["payment_status"] == "pending" ? @channel.charge(number, amount, currency) : @channel.query(number)
      rescue StandardError => error
        ActiveRecord::Base.logger&.error("payment #{number}: no answer of the channel: #{error.full_message}")
        ["unknown", nil, nil, nil]              # it may have been charged: never "failed"
      end
      payment = call("SELECT * FROM payguard.report_payment($1, $2, $3, $4, $5)", number, *answer)
    end
    follow(order_id)
    [STATUS.fetch(payment["outcome"], 409), payment["outcome"]]
  end

  # body: the bytes as they came (request.raw_post), since the signature is over them.
  def webhook(body, signature, secret)
    expected = OpenSSL::HMAC.hexdigest("SHA256", secret, body)
    return [400, "signature"] unless OpenSSL.secure_compare(expected, signature.to_s)
    message = begin
      record(body, JSON.parse(body))
    rescue JSON::ParserError, EncodingError, NoMethodError, TypeError, ActiveRecord::StatementInvalid => error
      raise if error.is_a?(ActiveRecord::StatementInvalid) && !field(error, PG::PG_DIAG_SQLSTATE).to_s.start_with?("22")
      record(body, {})                          # it is kept as it came, and a person is told
    end
    follow(message["order_id"]) if message["order_id"]
    [200, message["result"]]
  end

  private

  def record(body, message)
    call("SELECT * FROM payguard.record_notification('card', $1::bytea, $2, $3, $4,
            channel_status := $5, channel_txn_id := $6, amount := $7, currency := $8)",
         ActiveRecord::Relation::QueryAttribute.new("body", body, Bytes),
         *message.values_at("id", "payment", "refund", "status", "transaction", "amount", "currency").map { |value| value&.to_s })
  end

  # The shop's own row comes second. It can be done again at any time.
  def follow(order_id)
    call("UPDATE shop_orders SET status = 'paid'
          WHERE id = $1 AND status = 'new' AND (SELECT status FROM payguard.order_status($1::text)) = 'paid'", order_id)
  end

  # One statement, which is one transaction. It is repeated as it is, with the same key, where it was not done (40001,
  # 55P03), and where nobody knows since the connection was lost.
  #
  # Inside of a transaction (a test's, too) nothing is repeated: the whole block is to be. There it is a savepoint, so that
  # the block may go on behind a refusal.
  def call(sql, *values)
    return ActiveRecord::Base.transaction(requires_new: true) { execute(sql, values) } if ActiveRecord::Base.connection.transaction_open?

    pause = 0.05
    begin
      execute(sql, values)
    rescue ActiveRecord::ActiveRecordError => error
      lost = error.cause.is_a?(PG::Error) && field(error, PG::PG_DIAG_SQLSTATE).nil?
      raise if pause > 1 || !(lost || %w[40001 55P03 57P01].include?(field(error, PG::PG_DIAG_SQLSTATE)))
      sleep pause
      pause *= 2
      ActiveRecord::Base.connection.verify!
      retry
    end
  end

  def execute(sql, values)
    ActiveRecord::Base.connection.exec_query(sql, "payguard", values).first
  end

  def field(error, code)
    error.cause.result&.error_field(code) if error.cause.is_a?(PG::Error)
  end
end
