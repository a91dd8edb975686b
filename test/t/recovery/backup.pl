# A restore that was tried: a base backup and archived WAL give back every payment, and what was
# paid after the point that was restored to comes back as evidence. doc/high_availability.md has
# the same steps.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(has_archiving => 1, allows_streaming => 1);
$primary->append_conf('postgresql.conf', "log_statement = none\n");
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payguard SCHEMA pg_catalog;
CREATE ROLE till LOGIN;
SELECT payguard.grant_access('till', 'cashier');
SELECT payguard.register_channel('card');
SELECT count(payguard.create_order('order-' || i, 100, 'EUR')) FROM generate_series(1, 60) i;
SELECT count(payguard.pay_order('order-' || i, 'key-' || i)) FROM generate_series(1, 20) i;
SQL
$primary->backup('base');
$primary->safe_psql('postgres', <<'SQL');
SELECT count(payguard.pay_order('order-' || i, 'key-' || i)) FROM generate_series(21, 40) i;
SELECT payguard.refund_order('order-1', 'refund-1', 30, 'damaged');
SELECT pg_create_restore_point('before the accident');
SQL

# after that point: a payment of our own, one through a channel
$primary->safe_psql('postgres', "SELECT payguard.pay_order('order-41', 'key-41')");
my $attempt = $primary->safe_psql('postgres',
	"SELECT payment_id FROM payguard.start_payment('order-42', 'key-42', 'card')");
$primary->safe_psql('postgres',
	"SELECT payguard.report_payment('$attempt', 'succeeded', 'ch_42', 100, 'EUR')");
my $all = contents($primary);
my $last = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn())');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal(); CHECKPOINT;');
$primary->poll_query_until('postgres',
	"SELECT coalesce(last_archived_wal >= '$last', false) FROM pg_stat_archiver")
  or die 'the WAL was not archived';
$primary->stop('immediate');

# Everything: the server is lost, backup and archive are not.
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'it does not end recovery';
is(contents($restored), $all, 'the restored server has every order, payment, refund and event');
is($restored->safe_psql('postgres', 'SELECT * FROM payguard.verify()'), '', 'and keeps every promise');
is($restored->safe_psql('postgres', "SELECT outcome, replayed FROM payguard.pay_order('order-41', 'key-41')"),
	'paid|t', 'a repeated call is replayed there');
is($restored->safe_psql('postgres', "SELECT has_function_privilege('till', 'payguard.pay_orders(payguard.pay_request[])', 'EXECUTE')"),
	't', 'who may pay is restored too');
$restored->stop;

# A point in time: what came after it is lost here, but not outside.
my $earlier = PostgreSQL::Test::Cluster->new('earlier');
$earlier->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$earlier->append_conf('postgresql.conf',
	"recovery_target_name = 'before the accident'\nrecovery_target_action = promote\n");
$earlier->start;
$earlier->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'it does not end recovery';
is($earlier->safe_psql('postgres',
		"SELECT string_agg(status, ' ' ORDER BY order_id) FROM payguard.orders WHERE order_id IN ('order-1', 'order-40', 'order-41', 'order-42')"),
	'paid paid unpaid unpaid', 'the point before two payments is restored');
is($earlier->safe_psql('postgres', 'SELECT * FROM payguard.verify()'), '', 'it keeps every promise');
is($earlier->safe_psql('postgres', "SELECT outcome, replayed FROM payguard.pay_order('order-41', 'key-41')"),
	'paid|f', 'the call repeated with its key pays');
is($earlier->safe_psql('postgres',
		"SELECT outcome FROM payguard.report_payment('$attempt', 'succeeded', 'ch_42', 100, 'EUR')"),
	'recorded', 'evidence of an attempt that is not known any more is kept');
is($earlier->safe_psql('postgres', "SELECT count(*) FROM payguard.alerts WHERE kind = 'unmatched_notification'"),
	'1', 'with an alert');
is($earlier->safe_psql('postgres',
		"SELECT outcome FROM payguard.record_payment('order-42', 'card', 'ch_42', 100, 'EUR')"),
	'paid', 'the statement of the channel pays its order');
is($earlier->safe_psql('postgres', 'SELECT * FROM payguard.verify()'), '', 'and every promise holds');

done_testing();

# contents of the tables that are about money, as one text.
sub contents
{
	my $node = shift;
	return $node->safe_psql('postgres', join ';', map {
		"SELECT '$_', count(*), md5(string_agg(t::text, ' ' ORDER BY t::text)) FROM payguard.$_ t"
	} qw(orders payments refunds refund_balances events channels));
}
