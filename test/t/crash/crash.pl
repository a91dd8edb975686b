# kill -9 under load: no answer that was given to a session with synchronous_commit = on is
# lost, be it a payment, a replay or a refusal.
#
# Some clients pay with synchronous_commit = off. Others, with it on, wait for such a payment
# to be visible and at once repeat its key, or ask to pay its order with a key of their own:
# their answers rest on a commit that is not in the WAL files yet. wal_writer_delay is long, so
# that nobody but payguard puts it there. In every second round all other clients pay with off
# too, since a payment with on would flush everybody's WAL.
#
# Without the XLogFlush() in payguard_store_make_durable() nearly every such round fails.
#
# PAYGUARD_SEED repeats a run as far as its clocks allow; PAYGUARD_ROUNDS is 8.

use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = $ENV{PAYGUARD_SEED} || (time() * 1000 ^ $$) % 2**31;
my $rounds = $ENV{PAYGUARD_ROUNDS} || 8;
my $per_stream = 800;    # more orders than a client can pay in a round
my $dir = PostgreSQL::Test::Utils::tempdir;

note "PAYGUARD_SEED=$seed";
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
fsync = on
synchronous_commit = on
wal_writer_delay = 10s
log_statement = none
log_min_messages = log
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION payguard;
CREATE ROLE till LOGIN;
SELECT payguard.grant_access('till', 'checkout'), payguard.grant_access('till', 'cashier');
-- returns as soon as others see the payment with this key
CREATE FUNCTION wait_for(key text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  WHILE NOT EXISTS (SELECT FROM payguard.payments WHERE idempotency_key = key) LOOP
    PERFORM pg_sleep(0.0003);
  END LOOP;
END $$;
SQL

my @told;           # all answers: [order_id, payment_id]
my $lost = 0;       # payments of sessions with off: these may be lost
my $history = '';   # the newest event at the last recovery, and a hash of all up to it
my %count = (paid => 0, replay => 0, refused => 0);

for my $round (1 .. $rounds)
{
	my $all_off = $round % 2;
	my @streams = ('a' .. 'd');
	my @clients;

	$node->safe_psql('postgres', qq{
		SELECT count(payguard.create_order('$round' || s || i, 100, 'EUR'))
		FROM unnest('{a,b,c,d}'::text[]) s, generate_series(1, $per_stream) i});

	# streams a and b are paid with off and followed; c and d are paid by others
	for my $stream ('a', 'b')
	{
		push @clients, payer("$round$stream", 'off');
		push @clients, repeater("$round$stream");
		push @clients, refused("$round$stream");
	}
	push @clients, payer("$round$_", $all_off ? 'off' : 'on') for ('c', 'd');

	sleep(0.4 + rand(0.7));
	my $everybody = rand() < 0.5;
	kill_server($everybody);
	$_->{run}->finish for @clients;

	$node->start;
	# the statistics did not survive, and the tables grow
	$node->safe_psql('postgres', 'ANALYZE payguard.orders, payguard.payments, payguard.events');
	my @now;
	for my $client (@clients)
	{
		my $answers = answers($client);
		if ($client->{commit} eq 'off')
		{
			$lost += missing($answers);
			next;
		}
		cmp_ok(scalar(@$answers), '>', 0,
			"round $round: $client->{name} was answered");
		push @now, @$answers;
		$count{ $client->{kind} } += @$answers;
	}
	is(missing(\@now), 0,
		sprintf('round %d, %s, %s: all %d answers hold',
			$round, $all_off ? 'paid with off alone' : 'paid with on and off',
			$everybody ? 'all processes killed' : 'postmaster killed',
			scalar(@now)));
	push @told, @now;

	is($node->safe_psql('postgres', 'SELECT * FROM payguard.verify()'),
		'', "round $round: verify() finds nothing");
	check_history($round);
}

is(missing(\@told), 0, 'all ' . @told . ' answers hold at the end');
my %payment_of;
my @two = grep { ($payment_of{ $_->[0] } //= $_->[1]) ne $_->[1] } @told;
is(scalar(@two), 0, 'no order was answered with two payments');

note "answers to sessions with synchronous_commit = on: $count{paid} payments, "
  . "$count{replay} replays, $count{refused} refusals; "
  . "$lost payments of sessions with off were lost";
$node->stop;
done_testing();

# payer(PREFIX, ON OR OFF): pays the orders of a stream.
sub payer
{
	my ($prefix, $commit) = @_;

	return client('paid', $prefix, $commit, sub {
		my $id = shift;
		return answer('pay_order', $id, "key-$id") . "SELECT pg_sleep(0.0005);\n";
	});
}

# repeater(PREFIX): repeats the call of the payer, with synchronous_commit = on.
sub repeater
{
	my ($prefix) = @_;

	return client('replay', $prefix, 'on', sub {
		my $id = shift;
		return "SELECT wait_for('key-$id');\n" . answer('pay_order', $id, "key-$id");
	});
}

# refused(PREFIX): asks to pay with another key, by both functions in turn.
sub refused
{
	my ($prefix) = @_;

	return client('refused', $prefix, 'on', sub {
		my ($id, $i) = @_;
		return "SELECT wait_for('key-$id');\n"
		  . answer($i % 2 ? 'pay_order' : 'try_pay_order', $id, "another-$id");
	});
}

sub answer
{
	my ($function, $id, $key) = @_;

	return "SELECT 'answer', outcome, order_id, payment_id FROM payguard.$function('$id', '$key');\n";
}

# client(KIND, PREFIX, ON OR OFF, STATEMENTS): a psql that runs STATEMENTS(order_id, number) for
# each order of a stream. Its answers are in files: what arrived before the crash counts.
sub client
{
	my ($kind, $prefix, $commit, $statements) = @_;
	my $name = "$kind-$prefix";
	my $file = "$dir/$name";

	open my $script, '>', "$file.sql" or die "$file.sql: $!";
	print $script "SET synchronous_commit = $commit;\n";
	print $script $statements->("$prefix$_", $_) for (1 .. $per_stream);
	close $script;
	my $run = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=verbose',
			'-d', $node->connstr('postgres') . ' user=till', '-f', "$file.sql" ],
		'<', \undef, '>', "$file.out", '2>', "$file.err");
	return { name => $name, kind => $kind, commit => $commit, run => $run };
}

# answers(CLIENT): what it was told, as [order_id, payment_id].
sub answers
{
	my ($client) = @_;
	my $outcome = $client->{kind} eq 'refused' ? 'order_already_paid' : 'paid';
	my $out = slurp_file("$dir/$client->{name}.out");
	my $err = slurp_file("$dir/$client->{name}.err");
	my @answers;

	# a line without its end was cut off
	while ($out =~ /^answer\|(\w+)\|(\w+)\|([0-9a-f-]{36})\n/mg)
	{
		is($1, $outcome, "$client->{name}: outcome for order $2") if $1 ne $outcome;
		push @answers, [ $2, $3 ];
	}
	while ($err =~ /ERROR:  PY101: order "(\w+)" is already paid\nDETAIL:  Payment "([0-9a-f-]{36})"/g)
	{
		push @answers, [ $1, $2 ];
	}
	# nothing else may have been answered
	$err =~ s/^.*ERROR:  PY101: .*\n//mg;
	unlike($err, qr/ERROR/, "$client->{name} met no other error") if $err =~ /ERROR/;
	return \@answers;
}

# missing(ANSWERS): the number of answers whose payment is not there.
sub missing
{
	my ($answers) = @_;

	open my $file, '>', "$dir/told" or die "$dir/told: $!";
	print $file join("\t", @$_), "\n" for @$answers;
	close $file;
	return $node->safe_psql('postgres', qq{
		CREATE TEMP TABLE told (order_id text, payment_id uuid);
		\\copy told FROM '$dir/told'
		ANALYZE told;
		SELECT count(*) FROM told t
		WHERE NOT EXISTS (
		  SELECT FROM payguard.payments p JOIN payguard.orders o USING (order_id)
		  WHERE p.payment_id = t.payment_id AND p.order_id = t.order_id
		    AND p.status = 'succeeded' AND o.status = 'paid' AND o.payment_id = p.payment_id)});
}

# check_history(ROUND): event ids are unique, and the events that an earlier recovery showed are
# the same ones still.
sub check_history
{
	my ($round) = @_;
	my $hash = q{md5(string_agg(md5(e::text), '' ORDER BY event_id))};

	# not by the index, which would hide what it does not hold
	is($node->safe_psql('postgres', q{
		SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off;
		SELECT count(*) - count(DISTINCT event_id) FROM payguard.events}),
		'0', "round $round: event ids are unique");
	if ($history =~ /^(\d+)\|/)
	{
		is($node->safe_psql('postgres',
				"SELECT $1, $hash FROM payguard.events e WHERE event_id <= $1"),
			$history, "round $round: the earlier history is as it was");
	}
	$history = $node->safe_psql('postgres', "SELECT max(event_id), $hash FROM payguard.events e");
}

# kill_server(EVERYBODY): kills the postmaster, and EVERYBODY: its children in the same moment;
# otherwise these find out and end by themselves. Returns when all are gone.
sub kill_server
{
	my ($everybody) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children = children($postmaster);

	kill('KILL', $everybody ? ($postmaster, @children) : $postmaster);
	push @children, $postmaster;
	my $patience = time() + $PostgreSQL::Test::Utils::timeout_default;
	while (my @left = grep { is_running($_) } @children)
	{
		die "still running: @left" if time() > $patience;
		sleep(0.02);
	}
	# a zombie that init has not waited for yet would pass for a running server
	unlink($node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock');
	$node->{_pid} = undef;
}

sub children
{
	my ($parent) = @_;

	return map { /^\s*(\d+)\s+(\d+)/ && $2 == $parent ? $1 : () } `ps -A -o pid=,ppid=`;
}

# is_running(PID): a zombie is not.
sub is_running
{
	my ($pid) = @_;
	my $state = `ps -o stat= -p $pid`;

	return $state =~ /^\s*[^Z\s]/;
}
