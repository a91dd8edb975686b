# Guards move with their tables: pg_dump and restore, pg_upgrade, and logical replication into a
# guarded table.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir;
my $node = PostgreSQL::Test::Cluster->new('guarded');
$node->init(allows_streaming => 'logical');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE shop LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE shop OWNER shop');
$node->safe_psql('shop', q{
	CREATE EXTENSION payguard;
	SELECT payguard.grant_access('shop', 'owner');
	GRANT CREATE ON SCHEMA public TO shop;
	SELECT payguard.create_order('o' || n, 5, 'EUR') FROM generate_series(1, 20) n;
	SELECT payguard.pay_order('o' || n, 'k' || n) FROM generate_series(1, 10) n});
$node->safe_psql('shop', <<'SQL', extra_params => [ '-U', 'shop' ]);
CREATE TYPE state AS ENUM ('unpaid', 'paid', 'refunded');
CREATE TABLE orders (id int PRIMARY KEY, ref text, status state NOT NULL DEFAULT 'unpaid', version int NOT NULL DEFAULT 1);
CREATE TABLE "Odd ""table" (status varchar(20), "the ""ref'" text);
CREATE TABLE parted (id int, status text) PARTITION BY LIST (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE parted_21 PARTITION OF parted_2 DEFAULT;
CREATE TABLE a_child (id int, status text);
CREATE TABLE parent (id int, status text);
CREATE TABLE z_child (id int, status text);
ALTER TABLE a_child INHERIT parent;
ALTER TABLE z_child INHERIT parent;
CREATE TABLE old (id int, status text);
INSERT INTO old VALUES (1, 'of old');
INSERT INTO orders SELECT n, 'o' || n FROM generate_series(1, 20) n;
SELECT payguard.guard_table('orders', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', version_column := 'version',
	immutable_columns := '{id}', once := '{ref}', order_id_column := 'ref', paid_states := '{paid}', success_states := '{paid,refunded}');
SELECT payguard.guard_table('"Odd ""table"', 'status', '{"it''s unpaid": ["\\paid", "\"ä\""]}', once := array['the "ref'''], success_states := array['\paid']);
SELECT payguard.guard_table('parted', 'status', '{"unpaid": ["paid"]}');
SELECT payguard.guard_table('parent', 'status', '{"unpaid": ["paid"]}');
SELECT payguard.guard_table('old', 'status', '{"unpaid": ["paid"]}', not_valid := true);
UPDATE orders SET status = 'paid', version = 2 WHERE id <= 10;
INSERT INTO "Odd ""table" VALUES ('it''s unpaid', 'x');
INSERT INTO parted VALUES (1, 'unpaid'), (2, 'unpaid');
INSERT INTO z_child VALUES (1, 'unpaid');
SQL
# a row of the time before the guard is told, wherever it is
my $sound = 'I10|table public.old|has 1 rows whose status is no state of the guard (of old)';
my $guards = $node->safe_psql('shop', 'SELECT * FROM payguard.guards ORDER BY 1');
is(scalar(split /\n/, $guards), 7, 'guards of seven tables');
check($node, 'shop', 'at first');

my %dump = (plain => [], custom => ['-Fc'], directory => [ '-Fd', '-j4' ]);
for my $format (sort keys %dump)
{
	my $db = "shop_$format";

	$node->command_ok([ 'pg_dump', @{ $dump{$format} }, '-f', "$dir/$format", '-d', $node->connstr('shop') ],
		"$format: dumped");
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->command_ok(
		$format eq 'plain'
		? [ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/$format", '-d', $node->connstr($db) ]
		: [ 'pg_restore', '--exit-on-error', $format eq 'directory' ? '-j4' : (), '-d', $node->connstr($db), "$dir/$format" ],
		"$format: restored without an error");
	check($node, $db, $format);
}

# Logical replication: the subscriber has guards, and no order.
my $other = PostgreSQL::Test::Cluster->new('subscriber');
$other->init;
$other->start;
$other->safe_psql('postgres', 'CREATE EXTENSION payguard');
$other->safe_psql('postgres', <<'SQL');
CREATE TYPE state AS ENUM ('unpaid', 'paid', 'refunded');
CREATE TABLE orders (id int PRIMARY KEY, ref text, status state NOT NULL, version int NOT NULL);
SELECT payguard.guard_table('orders', 'status', '{"unpaid": ["paid"], "paid": ["refunded"]}', version_column := 'version',
	immutable_columns := '{id}', once := '{ref}', order_id_column := 'ref', paid_states := '{paid}', success_states := '{paid,refunded}',
	allow_delete := '{unpaid}');
SQL
$node->safe_psql('shop', 'CREATE PUBLICATION shop FOR TABLE orders');
my $publisher = $node->connstr('shop') =~ s/'//gr;
$other->safe_psql('postgres', "CREATE SUBSCRIPTION shop CONNECTION '$publisher' PUBLICATION shop");
$other->wait_for_subscription_sync($node, 'shop', 'postgres');
my $rows = 'SELECT * FROM orders ORDER BY id';
is($other->safe_psql('postgres', $rows), $node->safe_psql('shop', $rows), 'the first copy is complete');
$node->safe_psql('shop', q{
	SELECT payguard.pay_order('o' || n, 'k' || n) FROM generate_series(11, 15) n;
	INSERT INTO orders VALUES (21, 'o21');
	UPDATE orders SET status = 'paid', version = version + 1 WHERE id BETWEEN 11 AND 15;
	UPDATE orders SET status = 'refunded', version = version + 1 WHERE id <= 3});
$node->wait_for_catchup('shop');
is($other->safe_psql('postgres', $rows), $node->safe_psql('shop', $rows), 'changes follow');
is(sqlstate($other, 'postgres', "UPDATE orders SET status = 'unpaid', version = version + 1 WHERE id = 5"),
	'23514', 'the subscriber is guarded against others');
like($other->safe_psql('postgres', 'SELECT problem FROM payguard.verify()'), qr/^has 12 rows in a paid state whose order is not paid/,
	'and verify() tells that their orders are not there');
# what the publisher should not have sent stops the subscriber, as any constraint does
$node->safe_psql('shop', "SET payguard.allow_unsafe_ddl = on; ALTER TABLE orders DISABLE TRIGGER payguard_guard; "
	  . "UPDATE orders SET status = 'unpaid', version = version + 1 WHERE id = 5; ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard");
$other->wait_for_log(qr/violates check constraint "payguard_transition"/);
is($other->safe_psql('postgres', 'SELECT status FROM orders WHERE id = 5'), 'paid', 'an illegal change is not applied');
$node->safe_psql('shop', "SET payguard.allow_unsafe_ddl = on; ALTER TABLE orders DISABLE TRIGGER payguard_guard; "
	  . "UPDATE orders SET status = 'paid', version = version - 1 WHERE id = 5; ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard");
$other->safe_psql('postgres', 'ALTER SUBSCRIPTION shop DISABLE');
$other->safe_psql('postgres', 'ALTER SUBSCRIPTION shop SET (slot_name = NONE)');
$other->safe_psql('postgres', 'DROP SUBSCRIPTION shop');
$node->poll_query_until('postgres', "SELECT NOT active FROM pg_replication_slots WHERE slot_name = 'shop'");
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('shop')");
$other->stop;

# pg_upgrade, to the same version, which it allows
$guards = $node->safe_psql('shop', 'SELECT * FROM payguard.guards ORDER BY 1');
$node->safe_psql('postgres', "DROP DATABASE shop_$_") for keys %dump;
$node->stop;
my $new = PostgreSQL::Test::Cluster->new('upgraded');
$new->init;
{
	my $bin = PostgreSQL::Test::Utils::slurp_file($node->data_dir . '/postmaster.opts') =~ m{^(.*)/postgres } ? $1 : '';
	chdir $dir;
	command_ok(
		[ 'pg_upgrade', '--no-sync', '-d', $node->data_dir, '-D', $new->data_dir, '-b', $bin, '-B', $bin,
			'-s', $new->host, '-p', $node->port, '-P', $new->port ],
		'pg_upgrade');
}
$new->start;
check($new, 'shop', 'upgraded');
$new->stop;
done_testing();

# check(NODE, DATABASE, WHERE): the guards are those of the source, whole, and do their work.
sub check
{
	my ($to, $db, $where) = @_;

	is($to->safe_psql($db, 'SELECT * FROM payguard.guards ORDER BY 1'), $guards, "$where: the guards");
	is($to->safe_psql($db, 'SELECT * FROM payguard.verify()'), $sound, "$where: verify()");
	is($to->safe_psql($db, q{SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'payguard\_guard%' AND tgenabled = 'A'}),
		'20', "$where: triggers of ten tables, that always fire");
	for my $statement (
		"UPDATE orders SET status = 'unpaid', version = 3 WHERE id = 1",
		"UPDATE orders SET status = 'paid', version = 2 WHERE id = 20",
		"INSERT INTO orders VALUES (30, 'o30', 'paid')",
		"DELETE FROM orders WHERE id = 1",
		q{UPDATE "Odd ""table" SET status = 'paid'},
		"UPDATE parted_21 SET status = 'x'",
		"TRUNCATE parted_1",
		"UPDATE z_child SET status = 'x'",
		"UPDATE old SET status = 'unpaid'",
		"TRUNCATE orders")
	{
		is(sqlstate($to, $db, $statement), '23514', "$where: $statement");
	}
	is(sqlstate($to, $db, 'DROP TRIGGER payguard_guard ON parted'), 'PY902', "$where: DDL is refused");
	is(sqlstate($to, $db, 'DROP INDEX orders_payguard_once'), 'PY902', "$where: so is that on the index");
	is(sqlstate($to, $db, q{BEGIN; UPDATE "Odd ""table" SET status = '\paid'; ALTER TABLE parted RENAME status TO s;
		UPDATE parted SET s = 'paid'; CREATE TABLE parted_3 PARTITION OF parted FOR VALUES IN (3); ROLLBACK}), 'none: ', "$where: legal changes pass");
}

# sqlstate(NODE, DATABASE, SQL): the SQLSTATE it fails with.
sub sqlstate
{
	my ($to, $db, $sql) = @_;
	my ($code, $out, $err) = $to->psql($db, $sql, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return $err =~ /ERROR:  (\w{5})/ ? $1 : "none: $out";
}
