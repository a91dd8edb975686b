# pg_dump and restore, and logical replication: payguard's rows are an extension's own, and
# arrive complete. What a dump leaves out can be made again.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $source_folder = $ENV{PAYGUARD_SRC} || "$FindBin::RealBin/../../..";
my $node = PostgreSQL::Test::Cluster->new('source');
$node->init(allows_streaming => 'logical');
$node->append_conf('postgresql.conf', "log_statement = none\n");
$node->start;
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(allows_streaming => 'logical');
$other->append_conf('postgresql.conf', "log_statement = none\n");
$other->start;
my $roles = "CREATE ROLE web LOGIN; CREATE ROLE till LOGIN; CREATE ROLE audit LOGIN;";

$node->safe_psql('postgres', "$roles CREATE DATABASE shop");
$other->safe_psql('postgres', $roles);
$node->safe_psql('shop', <<'SQL');
CREATE EXTENSION payguard;
SELECT payguard.grant_access('web', 'checkout'), payguard.grant_access('till', 'cashier'),
       payguard.grant_access('audit', 'auditor');
SELECT payguard.register_channel('wallet', internal := true),
       payguard.register_channel('card', alert_after := '5 min');
SELECT payguard.create_order('order-' || i, i, 'EUR', 'customer ' || i % 7,
                             CASE WHEN i % 3 = 0 THEN now() + '1 day' END)
FROM generate_series(1, 300) i;
SELECT payguard.pay_order('order-' || i, 'key-' || i,
                          channel := CASE i % 2 WHEN 0 THEN 'internal' ELSE 'wallet' END)
FROM generate_series(1, 200) i;
SELECT payguard.cancel_order('order-' || i, reason := E'a "reason"\twith\nall' ) FROM generate_series(201, 220) i;
SELECT payguard.update_order('order-' || i, 1, i + 1) FROM generate_series(221, 240) i;
SELECT payguard.revoke_key('order-250', 'revoked');
-- through a channel: open, failed, paid, paid twice and notified out of the blue
SELECT payguard.start_payment('order-' || i, 'key-' || i, 'card', details := '{"url": "https://example.com"}')
FROM generate_series(241, 246) i;
SELECT payguard.report_payment(payment_id, CASE order_id WHEN 'order-241' THEN 'failed' ELSE 'succeeded' END,
                               'txn-' || order_id, amount, currency)
FROM payguard.payments WHERE order_id IN ('order-241', 'order-242', 'order-243');
SELECT payguard.record_payment('order-243', 'card', 'another', 243, 'EUR');
SELECT payguard.record_notification('card', '\x00ff27'::bytea, channel_txn_id := 'nobody knows');
SELECT payguard.refund_order('order-' || i, 'refund-' || i, 1, 'broken') FROM generate_series(1, 5) i;
-- a row that is to follow its order, of which sync_rows() has not read yet
CREATE TABLE rows (id text PRIMARY KEY, status text);
INSERT INTO rows VALUES ('order-257', 'new');
SELECT count(*) FROM payguard.guard_table('rows', 'status', '{"new": ["paid"]}', order_id_column := 'id',
  paid_states := '{paid}', follow := '{"paid": "paid"}');
SELECT payguard.pay_order('order-257', 'key-257');
-- the application's own trigger on payguard's table
CREATE TABLE told (order_id text, status text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO public.told VALUES (NEW.order_id, NEW.status);
  RETURN NULL;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION tell();
SELECT payguard.create_order('order-301', 301, 'EUR');
SELECT payguard.pay_order('order-301', 'key-301');
SQL
is($node->safe_psql('shop', 'SELECT * FROM payguard.verify()'), '', 'verify() at the source');
is($node->safe_psql('shop', 'SELECT count(*) FROM told'), '2', 'a trigger on payguard.orders runs');
is($node->safe_psql('shop', 'SELECT count(*) FROM payguard.not_in_dumps()'), '1', 'the trigger is the first thing that a dump leaves out');
$node->safe_psql('shop', <<'SQL');
ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER tell;
CREATE INDEX mine ON payguard.orders (created_at) WITH (fillfactor = 50);
CREATE UNIQUE INDEX "my own" ON payguard.orders (order_id, amount);
ALTER TABLE payguard.orders SET (fillfactor = 70, toast.autovacuum_enabled = off);
ALTER TABLE payguard.tasks RESET (fillfactor);
ALTER INDEX payguard.orders_of_customer SET (fillfactor = 60);
ALTER TABLE payguard.orders ALTER amount SET STATISTICS 200;
ALTER TABLE payguard.orders ALTER customer_id SET (n_distinct = 50);
ALTER TABLE payguard.notifications ALTER body SET STORAGE external, ALTER body SET COMPRESSION pglz;
ALTER TABLE payguard.alerts REPLICA IDENTITY FULL;
ALTER TABLE payguard.orders REPLICA IDENTITY USING INDEX "my own";
ALTER TABLE payguard.orders CLUSTER ON mine;
CREATE STATISTICS public.mine (dependencies) ON currency, status FROM payguard.orders;
CREATE POLICY mine ON payguard.orders AS RESTRICTIVE FOR SELECT TO audit, web USING (currency <> E'a\\b');
CREATE POLICY mine ON payguard.policies FOR UPDATE USING (true) WITH CHECK (min_amount > 0);
ALTER TABLE payguard.orders ENABLE ROW LEVEL SECURITY;
CREATE PUBLICATION "a part" FOR TABLE payguard.orders (order_id, amount, status), payguard.refunds WHERE (amount > 0);
CREATE PUBLICATION everything FOR TABLES IN SCHEMA payguard;
ALTER DATABASE shop SET payguard.notify_tasks = off;
ALTER ROLE web IN DATABASE shop SET payguard.notify_tasks = off;
SQL
my $again = $node->safe_psql('shop', q{SELECT statement || ';' FROM payguard.not_in_dumps()});
# the database's own settings go with its name
my $settings = qr/^ALTER (?:ROLE web IN )?DATABASE .*\n?/m;
is(() = $again =~ /$settings/g, 2, 'two settings of the database are left out');
$again =~ s/$settings//g;
is(() = $again =~ /;$/mg, 21, 'and 21 other things');

my $source = content($node, 'shop');
my $replay = $node->safe_psql('shop', replay('order-7', 'key-7'));
like($source, qr/^orders:301:/m, 'the source has rows');

my %dump = (
	plain => [],
	custom => [ '-Fc' ],
	directory => [ '-Fd', '-j4' ]);
for my $format (sort keys %dump)
{
	my $file = "$dir/shop.$format";

	$node->command_ok([ 'pg_dump', @{ $dump{$format} }, '-f', $file, '-d', $node->connstr('shop') ],
		"$format: dumped");
	for my $to ($node, $other)
	{
		my $db = "shop_$format";
		my $where = "$format, " . ($to == $node ? 'same' : 'another') . ' cluster';

		$to->safe_psql('postgres', "CREATE DATABASE $db");
		my @restore = $format eq 'plain'
		  ? ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $to->connstr($db))
		  : ('pg_restore', '--exit-on-error', $format eq 'directory' ? '-j4' : (), '-d', $to->connstr($db), $file);
		$to->command_ok(\@restore, "$where: restored without an error");
		check_restored($to, $db, $where);
	}
}

# Parts of a dump.
my $schema = "$dir/schema.sql";
$node->command_ok([ 'pg_dump', '--schema-only', '-f', $schema, '-d', $node->connstr('shop') ],
	'schema only: dumped');
$node->safe_psql('postgres', 'CREATE DATABASE shop_schema');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $schema, '-d', $node->connstr('shop_schema') ],
	'schema only: restored');
is($node->safe_psql('shop_schema', 'SELECT count(*) FROM payguard.orders'), '0',
	'schema only: no order');
is($node->safe_psql('shop_schema', 'SELECT * FROM payguard.verify()'), '', 'schema only: verify()');

my $data = "$dir/data.dump";
$node->command_ok([ 'pg_dump', '--data-only', '-Fc', '-f', $data, '-d', $node->connstr('shop') ],
	'data only: dumped');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('shop_schema'), $data ],
	'data only: restored into the schema');
check_restored($node, 'shop_schema', 'schema and data apart');
$node->command_fails_like(
	[ 'pg_restore', '--exit-on-error', '--data-only', '--disable-triggers', '-d',
		$node->connstr('shop_schema'), $data ],
	qr/would take away payguard's protection/,
	'--disable-triggers is refused');
$node->safe_psql('shop_custom', 'DROP TRIGGER tell ON payguard.orders');
$node->command_fails_like(
	[ 'pg_restore', '--exit-on-error', '--clean', '-d', $node->connstr('shop_custom'), "$dir/shop.custom" ],
	qr/would take away payguard's protection/,
	'--clean does not drop what has orders');
is($node->safe_psql('shop_custom', 'SELECT * FROM payguard.verify()'), '', 'and nothing is lost');

# Logical replication of everything, as a switch to another server or version does it. The subscriber makes
# nothing itself, not even a channel: the event of that would take the id of one to come.
$node->safe_psql('shop', 'CREATE PUBLICATION shop FOR ALL TABLES');
$other->safe_psql('postgres', 'CREATE DATABASE follower');
$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $schema, '-d', $other->connstr('follower') ],
	'logical replication: the schema alone is restored');
my $publisher = $node->connstr('shop') =~ s/'//gr;
$other->safe_psql('follower', "CREATE SUBSCRIPTION shop CONNECTION '$publisher' PUBLICATION shop");
$other->wait_for_subscription_sync($node, 'shop', 'follower');
is(rows($other, 'follower'), rows($node, 'shop'), 'logical replication: first copy');
$node->safe_psql('shop', <<'SQL');
SELECT payguard.pay_order('order-' || i, 'key-' || i) FROM generate_series(260, 299) i;
SELECT payguard.create_order('order-302', 1, 'EUR');
SELECT payguard.cancel_order('order-302');
SQL
$node->wait_for_catchup('shop');
is(rows($other, 'follower'), rows($node, 'shop'), 'logical replication: changes follow');
is($other->safe_psql('follower', 'SELECT * FROM payguard.verify()'), '',
	'logical replication: verify() on the subscriber');
is($other->safe_psql('follower', replay('order-7', 'key-7')), $replay,
	'logical replication: a key replays on the subscriber');
is(sqlstate($other, 'follower', 'UPDATE payguard.orders SET amount = 0'), 'PY901',
	'logical replication: the subscriber is protected');
# The switch. What logical replication leaves out are the sequences.
my $setval = documented_query('A switch by logical replication');
$other->safe_psql('follower', $node->safe_psql('shop', $setval));
$other->safe_psql('follower', 'DROP SUBSCRIPTION shop');
is($other->safe_psql('follower', $setval), $node->safe_psql('shop', $setval), 'after the switch: sequences are where they were');
my $last = $node->safe_psql('shop', 'SELECT max(event_id) FROM payguard.events');
is($other->safe_psql('follower', "SELECT outcome FROM payguard.pay_order('order-255', 'key-255')"), 'paid', 'after the switch: paying goes on');
is($other->safe_psql('follower', "SELECT min(event_id) FROM payguard.events WHERE event_id > $last"), $last + 1,
	'after the switch: event ids go on');
is($other->safe_psql('follower', "SELECT count(*) FROM payguard.maintain() WHERE problem IS NOT NULL"), '0', 'after the switch: maintain()');
is($other->safe_psql('follower', 'SELECT * FROM payguard.verify()'), '', 'after the switch: verify()');

# A dump needs no superuser: the access "auditor" or pg_read_all_data, which sees application tables too.
$node->safe_psql('postgres', 'CREATE ROLE backup LOGIN IN ROLE pg_read_all_data');
$node->safe_psql('shop', 'ALTER TABLE payguard.orders DISABLE ROW LEVEL SECURITY; DROP TABLE told CASCADE; DROP TRIGGER tell ON payguard.orders; GRANT SELECT ON rows TO audit');
for my $role ('audit', 'backup')
{
	$node->command_ok([ 'pg_dump', '-U', $role, '-Fc', '-f', "$dir/$role.dump", '-d', $node->connstr('shop') ], "$role may dump");
}

# CREATE EXTENSION payguard SCHEMA pg_catalog: with any search_path, and DROP SCHEMA public does not touch it.
for my $form ('', ' SCHEMA pg_catalog')
{
	my $db = $form ? 'in_pg_catalog' : 'in_public';
	my $file = "$dir/$db.sql";

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	is(sqlstate($node, $db, "SET search_path = ''; CREATE EXTENSION payguard$form"), $form ? 'none: ' : '3F000',
		"CREATE EXTENSION payguard$form without a search_path");
	$node->safe_psql($db, 'CREATE EXTENSION IF NOT EXISTS payguard;' . pays('a'));
	is(sqlstate($node, $db, 'DROP SCHEMA public CASCADE'), $form ? 'none: ' : 'PY902', "DROP SCHEMA public, payguard$form");
	$node->command_ok([ 'pg_dump', '-f', $file, '-d', $node->connstr($db) ], "$db: dumped");
	$other->safe_psql('postgres', "CREATE DATABASE $db");
	$other->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $file, '-d', $other->connstr($db) ], "$db: restored");
	is($other->safe_psql($db, "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'payguard'"),
		$form ? 'pg_catalog' : 'public', "$db: the extension is where it was");
	is($other->safe_psql($db, pays('b')), 'paid', "$db: paying goes on");
	is($other->safe_psql($db, 'SELECT count(*) FROM payguard.orders; SELECT * FROM payguard.verify()'), '2', "$db: verify()");
}

$node->stop;
$other->stop;
done_testing();

# check_restored(NODE, DATABASE, WHERE): a restored database is the source, and goes on.
sub check_restored
{
	my ($to, $db, $where) = @_;

	is(content($to, $db), $source, "$where: rows, sequences and grants");
	is($to->safe_psql($db, 'SELECT * FROM payguard.verify()'), '', "$where: verify()");
	is($to->safe_psql($db, "SELECT name FROM payguard.channels ORDER BY 1"),
		"card\ninternal\nwallet", "$where: channels");
	is($to->safe_psql($db, replay('order-7', 'key-7')), $replay, "$where: a key replays");
	is(sqlstate($to, $db, "SELECT payguard.pay_order('order-7', 'new-key')"), 'PY101',
		"$where: a paid order is refused");
	my $last = $to->safe_psql($db, 'SELECT max(event_id) FROM payguard.events');
	is($to->safe_psql($db, "SELECT outcome FROM payguard.pay_order('order-251', 'key-251')"),
		'paid', "$where: paying goes on");
	is($to->safe_psql($db, "SELECT count(*), min(event_id) FROM payguard.events WHERE event_id > $last"),
		'1|' . ($last + 1), "$where: event ids go on");
	is($to->safe_psql($db, "SET ROLE till; SELECT outcome FROM payguard.try_pay_order('order-252', 'key-252')"),
		'paid', "$where: who could pay can");
	is(sqlstate($to, $db, "SET ROLE web; SELECT payguard.pay_order('order-253', 'key-253')"), '42501',
		"$where: who could not cannot");
	is(sqlstate($to, $db, 'DELETE FROM payguard.orders'), 'PY901', "$where: the tables are protected");
	is($to->safe_psql($db, 'SELECT payguard.sync_rows(); SELECT status FROM rows'), "1\npaid", "$where: rows follow");
	is($to->safe_psql($db, 'SELECT * FROM payguard.verify()'), '', "$where: verify() in the end");
	is($to->safe_psql($db, 'SELECT statement FROM payguard.not_in_dumps()'), '', "$where: what a dump leaves out is not there");
	$to->safe_psql($db, $again);
	is($to->safe_psql($db, q{SELECT statement || ';' FROM payguard.not_in_dumps()}), $again =~ s/\n$//r, "$where: it is made again");
	$to->safe_psql($db, q{SELECT payguard.pay_order('order-254', 'key-254')});
	is($to->safe_psql($db, q{SELECT * FROM told ORDER BY 1, 2}),
		"order-254|paid\norder-301|paid\norder-301|unpaid", "$where: then it runs, and saw no copied row");
}

# content(NODE, DATABASE): the rows, the state of each sequence, all grants.
sub content
{
	my ($from, $db) = @_;

	return join "\n", rows($from, $db),
	  $from->safe_psql($db, q{
		SELECT s.sequencename, s.last_value FROM pg_sequences s
		WHERE s.schemaname = 'payguard' ORDER BY 1}),
	  $from->safe_psql($db, 'SELECT * FROM payguard.role_access() ORDER BY 1, 2'),
	  $from->safe_psql($db, q{
		SELECT p.oid::regprocedure::text, a.grantee::regrole::text, a.privilege_type
		FROM pg_proc p, aclexplode(p.proacl) a
		WHERE p.pronamespace = 'payguard'::regnamespace
		UNION ALL
		SELECT c.oid::regclass::text, a.grantee::regrole::text, a.privilege_type
		FROM pg_class c, aclexplode(c.relacl) a
		WHERE c.relnamespace = 'payguard'::regnamespace
		ORDER BY 1, 2, 3});
}

# rows(NODE, DATABASE): count and hash of each table.
sub rows
{
	my ($from, $db) = @_;

	# the extension makes its own channel anew
	return join "\n", map {
		"$_:" . $from->safe_psql($db,
			"SELECT count(*) || ':' || coalesce(md5(string_agg(t::text, E'\\n' ORDER BY t::text)), '') "
			  . "FROM payguard.$_ t WHERE left(t::text, 10) <> '(internal,'")
	} split /\n/, $from->safe_psql($db, "SELECT t FROM payguard.own_tables() t ORDER BY 1");
}

# documented_query(HEADING): the first SQL block below a heading of high_availability.md.
sub documented_query
{
	my $text = slurp_file("$source_folder/doc/high_availability.md");
	my ($block) = $text =~ /^## \Q$_[0]\E\n.*?^```sql\n(.*?)^```/ms or die $_[0];

	return $block;
}

# pays(ORDER): an order that is made and paid.
sub pays
{
	my ($order) = @_;

	return "SELECT FROM payguard.create_order('$order', 1, 'EUR'); SELECT outcome FROM payguard.pay_order('$order', '$order')";
}

sub replay
{
	my ($order, $key) = @_;

	return "SELECT * FROM payguard.pay_order('$order', '$key', channel := 'wallet')";
}

# sqlstate(NODE, DATABASE, SQL): the SQLSTATE it fails with.
sub sqlstate
{
	my ($to, $db, $sql) = @_;
	my ($code, $out, $err) = $to->psql($db, $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return $err =~ /ERROR:  (\w{5})/ ? $1 : "none: $out";
}
