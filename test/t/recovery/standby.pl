# A synchronous standby: what a session with synchronous_commit = on is told, the standby has.
#
# A client may stop waiting for the standby: its payment is then committed and visible here,
# and lost if the standby takes over. Who repeats it must wait for the standby too, and gets an
# error, not an answer, where the wait is cancelled.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
# without the standby nothing is confirmed; the sender must not give up a stopped receiver
$primary->append_conf('postgresql.conf', "wal_sender_timeout = 0\nlog_statement = none\n");
$primary->start;
$primary->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payguard;
SELECT count(payguard.create_order('order-' || i, 100, 'EUR')) FROM generate_series(1, 9) i;
SQL
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "wal_receiver_timeout = 0\n");
$standby->start;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\n");
$primary->reload;
ok($primary->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
	'the standby is synchronous');

# On the standby.
is(sqlstate($standby, pay('order-1', 'key-1')), '25006', 'pay_order() on a standby is 25006');
is(sqlstate($standby, "SELECT payguard.try_pay_order('order-1', 'key-1')"),
	'25006', 'and so is try_pay_order()');
for my $call (
	"create_order('new', 1, 'EUR')", "update_order('order-1', 1, 5)", "cancel_order('order-1')",
	"pay_orders('{\"(order-1,key-1,,,,)\"}')", "start_payment('order-1', 'key-1', 'internal')",
	"request_payment('order-1', 'key-1', 'internal')", "revoke_key('order-1', 'key-1')",
	"record_payment('order-1', 'internal', 'txn', 100, 'EUR')", "record_notification('internal', 'x')",
	"record_reversal('internal', 'r', 'txn', 'refund', 1, 'EUR')", "refund_order('order-1', 'refund', 1, 'x')",
	"claim_tasks('worker')", "expire_orders(1)", "maintain()", "read_events('reader')", "register_channel('new')",
	"set_policy('EUR', 1)", "archive_orders(now(), 1)", "erase_customer('c')")
{
	is(sqlstate($standby, "SELECT payguard.$call"), '25006', "so is $call");
}
my ($code, $out, $err) = $standby->psql('postgres', pay('order-1', 'key-1'));
like($err, qr/cannot execute pay_order\(\) during recovery|cannot execute .*pay.* in a read-only transaction/,
	'and says why');
is($standby->safe_psql('postgres', "SELECT status, advice FROM payguard.order_status('order-1')"),
	'unpaid|pay', 'order_status() works on a standby');

# The standby answers: nobody waits long.
my $paid = $primary->safe_psql('postgres', pay('order-1', 'key-1'));
like($paid, qr/^paid\|f\|/, 'paid with the standby');
is($primary->safe_psql('postgres', pay('order-1', 'key-1')), $paid =~ s/\|f\|/|t|/r, 'and replayed');
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SELECT status, advice FROM payguard.order_status('order-1')"),
	'paid|paid', 'the standby knows');

# The standby's receiver stops; a client pays, waits and stops waiting.
my $receiver = $standby->safe_psql('postgres', 'SELECT pid FROM pg_stat_wal_receiver');
kill('STOP', $receiver);
my $payer = background('payer');
$payer->query_until(qr/begun/, "\\echo begun\n" . pay('order-2', 'key-2') . ";\n");
wait_for_sync_rep('payer', 1);
is($primary->safe_psql('postgres', order('order-2')),
	'unpaid', 'while the payer waits, others do not see its payment');
$primary->safe_psql('postgres', cancel('payer'));
$paid = $payer->query_until(qr/^paid.*\n/m, "\n");
chomp $paid;
like($paid, qr/^paid\|f\|/, 'the payer stopped waiting, its payment is committed here');
is($primary->safe_psql('postgres', order('order-2')), 'paid', 'and others see it');

# Who asks now must not be told before the standby has it.
my %ask = (
	'a replay' => pay('order-2', 'key-2'),
	'a replay by try_pay_order()' => "SELECT payguard.try_pay_order('order-2', 'key-2')",
	'a refusal' => pay('order-2', 'other-key'),
	'a refusal by try_pay_order()' => "SELECT payguard.try_pay_order('order-2', 'other-key')",
	'a batch' => "SELECT payguard.pay_orders('{\"(order-2,key-2,,,,)\"}')",
	'revoke_key()' => "SELECT payguard.revoke_key('order-2', 'key-2')",
	'cancel_order()' => "SELECT payguard.cancel_order('order-2')",
	'create_order()' => "SELECT payguard.create_order('order-2', 100, 'EUR')");
for my $what (sort keys %ask)
{
	is(sqlstate($primary, "SET statement_timeout = '300ms'; $ask{$what}"),
		'57014', "$what waits for the standby, and a cancelled wait is an error");
}
like($primary->safe_psql('postgres', 'SET synchronous_commit = local; ' . pay('order-2', 'key-2')),
	qr/^paid\|t\|/, 'a session that does not ask for the standby is answered at once');

# The answer comes when the standby goes on.
my $repeater = background('repeater');
$repeater->query_until(qr/begun/, "\\echo begun\n" . pay('order-2', 'key-2') . ";\n");
my $refused = background('refused');
$refused->query_until(qr/begun/,
	"\\echo begun\nSELECT outcome FROM payguard.try_pay_order('order-2', 'other-key');\n");
wait_for_sync_rep('repeater', 1);
wait_for_sync_rep('refused', 1);
kill('CONT', $receiver);
my $replayed = $repeater->query_until(qr/^paid.*\n/m, "\n");
chomp $replayed;
is($replayed, $paid =~ s/\|f\|/|t|/r, 'the replay is answered when the standby goes on');
like($refused->query_until(qr/order_already_paid/, "\n"),
	qr/order_already_paid/, 'and so is the refusal');

# Recovery that is paused does not hold up what only has to be on the standby's disk, and does
# with remote_apply.
$primary->wait_for_catchup($standby);
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
$primary->safe_psql('postgres', pay('order-3', 'key-3'));
like($primary->safe_psql('postgres', pay('order-3', 'key-3')),
	qr/^paid\|t\|/, 'replay paused on the standby: flushed there is enough');
is(sqlstate($primary,
		"SET synchronous_commit = remote_apply; SET statement_timeout = '300ms'; "
		  . pay('order-3', 'key-3')),
	'57014', 'with remote_apply the answer waits until the standby shows the payment');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
like($primary->safe_psql('postgres',
		'SET synchronous_commit = remote_apply; ' . pay('order-3', 'key-3')),
	qr/^paid\|t\|/, 'and then it comes');
is($standby->safe_psql('postgres', "SELECT status FROM payguard.order_status('order-3')"),
	'paid', 'as the standby says');

# A session that is ended while it waits is not answered.
kill('STOP', $receiver);
$payer->query_until(qr/begun/, "\\echo begun\n" . pay('order-4', 'key-4') . ";\n");
wait_for_sync_rep('payer', 1);
$primary->safe_psql('postgres', cancel('payer'));
$payer->query_until(qr/^paid.*\n/m, "\n");
$repeater->query_until(qr/begun/, "\\echo begun\n" . pay('order-4', 'key-4') . ";\n");
wait_for_sync_rep('repeater', 1);
$primary->safe_psql('postgres', cancel('repeater') =~ s/cancel/terminate/r);
wait_for_sync_rep('repeater', 0);
$repeater->{run}->finish;
unlike($repeater->{stdout}, qr/paid/, 'a session that is ended while it waits is not answered');
kill('CONT', $receiver);

# The standby takes over and has all that was answered.
$primary->wait_for_catchup($standby);
$_->quit for ($payer, $refused);
$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', 'SELECT * FROM payguard.verify()'),
	'', 'verify() finds nothing on the new primary');
for my $i (1 .. 4)
{
	like($standby->safe_psql('postgres', pay("order-$i", "key-$i")),
		qr/^paid\|t\|/, "payment $i is replayed there");
}
like($standby->safe_psql('postgres', pay('order-5', 'key-5')), qr/^paid\|f\|/, 'and paying goes on');
$standby->stop;
done_testing();

sub pay
{
	my ($order, $key) = @_;

	return "SELECT outcome, replayed, payment_id FROM payguard.pay_order('$order', '$key')";
}

sub order
{
	my ($order) = @_;

	return "SELECT status FROM payguard.orders WHERE order_id = '$order'";
}

# cancel(NAME): SQL that cancels what a background session is doing.
sub cancel
{
	my ($name) = @_;

	return "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = '$name'";
}

# background(NAME): a session on the primary; NAME is its application_name.
sub background
{
	my ($name) = @_;
	my $session = $primary->background_psql('postgres', on_error_stop => 0);

	$session->query_safe("SET application_name = '$name'");
	return $session;
}

# wait_for_sync_rep(NAME, 1 OR 0): until the session does or does not wait for the standby.
sub wait_for_sync_rep
{
	my ($name, $waits) = @_;

	$primary->poll_query_until('postgres',
		"SELECT count(*) = $waits FROM pg_stat_activity "
		  . "WHERE application_name = '$name' AND wait_event = 'SyncRep'")
	  or die "$name: expected $waits wait for the standby";
}

# sqlstate(NODE, SQL): the SQLSTATE it fails with, or its result.
sub sqlstate
{
	my ($node, $sql) = @_;
	my ($code, $out, $err) = $node->psql(
		'postgres', $sql,
		extra_params => [ '-v', 'VERBOSITY=sqlstate' ],
		timeout => $PostgreSQL::Test::Utils::timeout_default);

	return $err =~ /ERROR:  (\w{5})/ ? $1 : $out;
}
