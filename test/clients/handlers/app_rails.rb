# The handlers for Rails as a program; test/clients/handlers.py says what it is asked.
require "logger"
require "net/http"
require "#{ENV['PAYGUARD_SRC']}/examples/handlers/ruby_rails"

ActiveRecord::Base.establish_connection(adapter: "postgresql", host: "127.0.0.1", port: ENV["SHOP_PORT"], username: "web",
                                        database: "handlers", pool: 8)
ActiveRecord::Base.logger = Logger.new($stderr, level: Logger::ERROR)

module Channel
  def self.ask(path)
    url = URI(ENV["SHOP_CHANNEL"] + path)
    body = Net::HTTP.start(url.host, url.port, read_timeout: 6, max_retries: 0) { |http| http.get(url.path).body }
    status, transaction, amount, currency = body.split(" ")
    status == "succeeded" ? [status, transaction, Integer(amount), currency] : [status, nil, nil, nil]
  end

  def self.charge(number, amount, currency)
    ask("/charge/#{number}/#{amount}/#{currency}")
  end

  def self.query(number)
    ask("/query/#{number}")
  end
end

$stdout.sync = true
$stdin.each_line(chomp: true).map do |line|
  Thread.new(*line.split(" ", -1)) do |number, verb, first, second|
    payments = Payments.new(Channel)
    status, state = begin
      order = first.match?(/\A\d+\z/) ? Integer(first) : first
      case verb
      when "checkout" then payments.checkout(order, second)
      when "inside" then ActiveRecord::Base.transaction { payments.checkout(order, second) }
      else payments.webhook([second].pack("H*"), first, ENV["SHOP_SECRET"])
      end
    rescue StandardError => error
      [500, error.message.split.join(" ")]
    ensure
      ActiveRecord::Base.connection_pool.release_connection
    end
    puts "#{number} #{status} #{state}\n"
  end
end.each(&:join)
