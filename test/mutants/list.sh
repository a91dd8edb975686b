# The mutants: payguard with one safeguard taken out, and the test that must notice.
#
#   mutant NAME "FILE..." KILLER SED-SCRIPT [short]
#
# KILLER is "regress NAME", "isolation NAME" or "stress"; short: in make test, too. A script that
# changes nothing is an error, so that a mutant does not go stale unnoticed.

# paying
mutant no_unique_index src/sql/30_payment.sql "regress verify" \
  's/CREATE UNIQUE INDEX payments_that_count/CREATE INDEX payments_that_count/' short
mutant no_row_lock src/store/rows.c stress 's/LockTupleNoKeyExclusive/LockTupleKeyShare/' short
mutant no_second_version src/store/rows.c stress 's/flags \|= TUPLE_LOCK_FLAG_FIND_LAST_VERSION/flags |= 0/'
mutant no_conflict src/store/write.c stress 's/^(\t\} while \()conflict\)/\1false)/'
mutant one_arbiter src/store/writing.c "isolation reindex_create" \
  's/^\t\tif \(!info->ii_ReadyForInserts \|\| !info->ii_Unique\)$/\t\tif (!index->rd_index->indisvalid || !info->ii_ReadyForInserts || !info->ii_Unique)/'
mutant any_collation src/store/writing.c "regress user_objects" 's/^\t\t\t!are_alike\(index, .*$/\t\t\tfalse ||/'
mutant any_condition src/store/writing.c "regress user_objects" 's/^\t\t\t!equal\(info->ii_Predicate, .*$/\t\t\tfalse)/'
mutant users_index_last src/store/writing.c "isolation create_race" 's/nforeign > 0 \|\|/false ||/'
mutant empty_unseen src/store/open.c "isolation policy_serializable" 's/^\t\tPredicateLockRelation\(.*/\t\t(void) 0;/'
mutant invalid_index src/store/rows.c "regress queue_head" '/^is_usable\(/,/^}/s/ \&\& index->rd_index->indisvalid \&\&/ \&\&/'
mutant index_tells_none src/store/rows.c "regress user_objects" '/^payguard_store_may_have\(/,/^}/s/^\tbool may = true;$/\tbool may = false;/'
mutant index_of_others src/store/rows.c "regress user_objects" '/^begin_usable_scan\(/,/^}/s/!is_usable\(open, key, index\) \|\|/false ||/'
# one of the two would do: whoever takes another's announcement makes that one fail
mutant any_command src/store/plan.c "regress user_objects" \
  's/^\t\t\t\tGetActiveSnapshot\(\)->curcid == announced\.command;/\t\t\t\ttrue;/; s/^\t\tannounced\.relation = NULL;$/\t\t;/'
mutant plan_of_caller src/store/plan.c "regress store" 's/^\treturn source->is_valid \&\& source->gplan .*$/\treturn source != NULL ||/'
mutant plan_freed src/store/plan.c "regress store" '/^get_plan\(/,/^}/s/^\tif \(entry->plan == NULL\)$/\tif (entry->plan \&\& SPI_freeplan(entry->plan) == 0)\n\t\tentry->plan = NULL;\n&/'
mutant indexes_unlocked src/store/writing.c "regress store" '/^close_indexes\(/,/^}/s/NoLock/RowExclusiveLock/'
mutant field_meddled src/store/write.c "regress user_objects" 's/^\t\t\tchanged_by_trigger\(table/\t\t\tif (false) changed_by_trigger(table/'
mutant any_request src/requests/pay_judge.c "regress keys" 's/^\tif \(differences\.len == 0\)$/\tif (true)/'
mutant revoked_key_pays src/requests/pay_judge.c "regress keys" 's/^\tif \(payguard_text_is\(payment->failure_code, "revoked"\) \&\&$/\tif (false \&\&/'
mutant failed_key_replays src/requests/pay_judge.c "regress attempts" 's/^\tif \(payment->status == PAYMENT_FAILED\)$/\tif (false)/'
mutant key_released src/requests/pay_judge.c "regress keys" 's/^(\tcall->key_known =)$/\1 call->kind[0] == 0 \&\&/'
mutant no_second_look src/requests/pay_round.c "isolation revoke_policy" 's/^\tif \(call->verdict != VERDICT_REFUSE \|\| call->key_known \|\| looked_up\)$/\tif (true)/'
mutant old_key_counts src/requests/pay_round.c "isolation batch" 's/^\tbool looked_up = !first_round \|\| .*$/\tbool looked_up = !first_round;/'
mutant no_second_judgement src/requests/pay_round.c stress 's/^\tif \(!call->key_known \&\& !call->entry->may_pay\)$/\tif (!call->key_known \&\& first_round)/'
mutant unsorted_keys src/requests/pay_round.c stress 's/^\tqsort\(round\.calls, round\.n, sizeof\(PayCall \*\), by_key\);$//'
mutant any_amount src/requests/pay_judge.c "regress checks" 's/call->amount != NO_AMOUNT \&\& call->amount != order->amount/false/'
mutant any_currency src/requests/pay_judge.c "regress checks" \
  's/call->currency \&\& !payguard_text_equal\(call->currency, order->currency\)/false/'
mutant any_channel_pays src/requests/pay_judge.c "regress checks" 's/!payguard_pay_is_attempt\(call\) \&\& !channel\.internal/false/'
mutant policy_skipped src/requests/pay_judge.c "regress approvals" \
  's/^\t\t   payguard_policy_judge\(\&entry->order, call->expected_version, entry->locked,$/\t\t   payguard_policy_judge(\&entry->order, call->expected_version, false,/; s/^\tgood = judge_channel/\tif (call->kind[0] == 112) { call->verdict = entry->found ? VERDICT_OPEN : VERDICT_REFUSE; if (entry->found \&\& entry->order.status == ORDER_UNPAID) return; }\n\tgood = judge_channel/'
mutant writes_in_read_only src/records/call.c "regress read_only" 's/^\tPreventCommandIfReadOnly\(function\);$//'

# orders
mutant no_version src/records/order.c "regress order_life" 's/^\torder->version\+\+;$//'
mutant version_by_two src/records/order.c "regress order_life" 's/^\torder->version\+\+;$/\torder->version += 2;/'
mutant no_event src/records/order.c "regress pay_once" '/^payguard_order_change\(/,/^}/s/^\tpayguard_event_write\($/\tif (to != ORDER_PAID) &/' short
mutant stale_version_accepted src/records/order.c "regress order_life" \
  's/^\tif \(expected == NO_ID \|\| expected == order->version\)$/\tif (expected != 0)/'
mutant deadline_ignored src/records/order.c "regress expiry" \
  's/^\treturn order->expires_at != NO_TIME \&\& order->expires_at <= now;$/\treturn false;/'
mutant deadline_inclusive src/records/order.c "regress expiry" \
  's/^\treturn order->expires_at != NO_TIME \&\& order->expires_at <= now;$/\treturn order->expires_at != NO_TIME;/'

# evidence
mutant unknown_is_failure src/rules/decide.c "regress decision_list" \
  's/^\t\t\t\tdecision\.payment = PAYMENT_UNKNOWN;$/\t\t\t\tdecision.payment = PAYMENT_FAILED;/'
mutant surplus_without_refund src/rules/decide.c "regress surplus" 's/^\tdecision\.refund = true;$//' short
mutant wrong_amount_pays src/evidence/facts.c "regress surplus" 's/^\t\treturn MONEY_LESS;$/\t\treturn MONEY_FITS;/'
mutant closing_forgotten src/rules/decide.c "regress attempts" \
  's/^\treturn facts->closing_as != ORDER_NONE \? facts->closing_as : ORDER_UNPAID;$/\treturn ORDER_UNPAID;/'
mutant second_charge_pays_back src/evidence/apply.c "regress surplus" \
  's|report->give_back \? REFUND_PENDING : REFUND_AWAITING_APPROVAL|REFUND_PENDING|'
mutant not_found_is_final src/evidence/apply.c "regress charge_again" \
  's/^\tif \(report\.status == CHANNEL_NOT_FOUND \&\& not_found_is_final\(payment, \&channel\)\)$/\tif (report.status == CHANNEL_NOT_FOUND)/'
mutant evidence_raises src/evidence/apply.c "isolation txn_race" 's/^\tif \(payguard_store_try\(run_follow, \&f\)\)$/\trun_follow(\&f); if (f.order)/'
mutant superseded_for_nothing src/evidence/apply.c "isolation txn_race" \
  's/!payguard_store_try\(run_supersede_and_record, \&r\)$/(payguard_received_supersede_other(order), (void) run_supersede_and_record, (void) r, !payguard_received_insert(order, channel->name, report, decision.payment, NULL, payment))/'
mutant wrong_order_locked src/evidence/message.c "isolation message_moves" \
  's/^\t\t!payguard_text_equal\(order_of\(match\), match->order\.order_id\)\)$/\t\tmatch->order.order_id == NULL)/'
mutant waiting_forgotten src/evidence/reported.c "regress message_waits" 's/^\t\t?payguard_notification_match\(\&order, \&payment, \&applied\);$//'
mutant message_twice src/evidence/message.c "regress notifications" \
  's/^\tif \(payguard_store_find\(\&payguard_notifications, NOTIFICATION_BY_EVENT, \&notification,$/\tnotification.event_id = payguard_text(psprintf("%s %ld", payguard_str(notification.event_id), (long) notification.received_at));\n&/'
mutant stale_payment src/records/payment.c "isolation refund_correct" 's/^\tif \(!IsolationUsesXactSnapshot\(\)\)$/\tif (true)/'
mutant merged_replays src/evidence/apply.c "regress hard_cases" '/^merge_into\(/,/^}/s/^\tapplied->changed = true;$//'
mutant line_without_time src/requests/resolve_finding.c "regress settlement" 's/^\tif \(time\)$/\tif (false)/'
mutant no_query src/records/task.c "regress attempts" \
  's/^\t\tpayguard_task_schedule\("query", about, channel->name,$/\t\tif (about.payment_id == NULL)\n&/'

# refunds
mutant no_ceiling src/requests/refund_order.c "regress refunds" 's/^\tif \(amount > 0 \&\& amount <= rest\)$/\tif (amount > 0)/'
mutant ceiling_by_one src/requests/refund_order.c "regress refunds" 's/^\tif \(amount > 0 \&\& amount <= rest\)$/\tif (amount > 0 \&\& amount <= rest + 1)/'
mutant ceiling_before_lock src/requests/refund_order.c "isolation refund_refund" \
  's/^\tpayguard_balance_lock\(payment, \&balance\);$/\tbalance = (RefundBalance){.payment_id = payment->payment_id, .received = Max(payment->received_amount, 0)};/;'
mutant refund_key_of_anyone src/money/refunding.c "regress refunds" 's/^\telse if \(call->amount != NO_AMOUNT \&\& call->amount != refund->amount\)$/\telse if (false)/'
mutant begun_refund_waived src/requests/refund_order.c "regress refunds" '/^payguard_judge_waive\(/,/^}/s/payguard_refund_has_begun\(refund\)/false/'
mutant self_approval src/records/approval.c "regress approvals" 's/^\tif \(payguard_text_equal\(actor, approval->requested_by\)\)$/\tif (false)/' short
mutant waived_corrected src/money/surplus.c "regress surplus" '/^find_unbegun\(/,/^}/s/^\t\t\t!payguard_refund_is_reserved\(refunds\[i\]\.status\) \|\|$//'

# what a channel says
mutant excess_kept src/rules/decide.c "regress overpaid" 's/^\tdecision\.excess = facts->money == MONEY_MORE;$//' short
mutant cancelled_pays src/rules/decide.c "regress late_success" '/^decide_success\(/,/^}/s/facts->closing_as == ORDER_CANCELLED \|\|$//'
mutant mismatch_goes_back src/rules/decide.c "regress overpaid" '/^take_as_mismatch\(/,/^}/s/^\tdecision\.hold = true;$//'
mutant late_word_steps_back src/rules/decide.c "regress processing" '/^decide_live\(/,/^}/s/PAYMENT_PROCESSING \&\& facts->fresh\)/PAYMENT_PROCESSING)/' short
mutant late_word_revives src/rules/decide.c "regress processing" '/^decide_failed\(/,/^}/s/^\t\t\tif \(!facts->fresh\)$/\t\t\tif (false)/'
mutant late_word_takes_back src/rules/decide.c "regress taken_back" '/^decide_received\(/,/^}/s/^\t\t\telse if \(facts->fresh\)$/\t\t\telse if (true)/'
mutant old_claim_is_fresh src/queue/answer.c "regress processing" '/^is_fresh\(/,/^}/s/task->run_at == lease->run_at/lease != NULL/'
mutant processing_expires src/requests/close_order.c "regress processing" 's/payguard_payment_holds_order\(live\.status\)/false/'
mutant returned_pays_twice src/rules/decide.c "regress taken_back" 's/^\tdecision\.another = facts->report == CHANNEL_SUCCEEDED \&\& facts->other_txn;$/\tdecision.another = facts->report == CHANNEL_SUCCEEDED;/'
mutant part_reopens src/evidence/reversal.c "regress taken_back" '/^takes_all\(/,/^}/s/report->amount >= payment->received_amount/true/' short
mutant begun_reopens src/evidence/reversal.c "regress taken_back" '/^takes_all\(/,/^}/s/payguard_refund_has_begun\(&refunds\[i\]\)/false/'
mutant failure_counted_twice src/evidence/reversal.c "regress taken_back" 's/^\tif \(name_failure\(payment, report, refund, applied\)\)$/\tif (false)/'
mutant failure_said_again src/evidence/reversal.c "regress taken_back" 's/^\tif \(has_failed_before\(payment\)\)$/\tif (false)/'
mutant another_guessed src/evidence/apply.c "regress taken_back" '/^record_another\(/,/^}/s/^\t\tmoney\.amount = payment->amount;$/\t\tmoney.amount = payment->received_amount;/'
mutant returned_goes_back src/requests/reopen_order.c "regress taken_back" 's/^\t\tpayguard_refund_waive_rest\(&payment, note\);$//'
mutant excess_forgotten src/evidence/here.c "regress taken_back" '/^pay_again\(/,/^}/s/^(\tif \(decision\.)excess\)$/\1supersede \&\& false)/'
mutant old_reversal_again src/evidence/reversal.c "regress taken_back" '/^reverse_again\(/,/^}/s/^\t\t  report->channel_time <= refund->reinstated_time\)\)\)$/\t\t  false)))/'
mutant timeless_reversal_again src/evidence/reversal.c "regress taken_back" '/^reverse_again\(/,/^}/s/^\tif \(report->channel_time == NO_TIME \|\| .*$/\tif (false)/'
mutant reinstatement_lost src/evidence/reversal.c "regress taken_back" 's/^\treinstate_waiting\(order, payment, refund\);$//'
mutant old_reinstatement src/evidence/reinstatement.c "regress taken_back" '/^is_old\(/,/^}/s/^\treturn /\treturn false \&\& /'
mutant echo_counted src/evidence/returned.c "regress echo" '/^find_echo\(/,/^}/s/^\t\t\*echo = refunds\[i\];$//' short
mutant echo_guessed src/evidence/returned.c "regress echo" '/^find_echo\(/,/^}/s/^\t\tif \(echo->refund_id != NULL\)$/\t\tif (false)/'
mutant failed_counts_again src/evidence/reversal.c "regress taken_back" '/^may_be_old\(/,/^}/s/^\tif \(refund->status != REFUND_FAILED .*$/\tif (true ||/'
mutant undone_counts_again src/evidence/returned.c "regress taken_back" '/^counts_no_more\(/,/^}/s/^\tif \(refund->status != REFUND_MERGED .*$/\tif (true)/'
mutant taken_again_unseen src/evidence/returned.c "regress taken_back" 's/^\t\talert_taken_again\(payment, refund, report\);$/\t\t;/'
mutant here_again_unseen src/evidence/returned.c "regress taken_back" 's/^\t+note_here_again\(order, &payment, refund, report, applied\);$//'
mutant rest_unsettled src/money/surplus.c "regress taken_back" '/^payguard_refund_takes_rest\(/,/^}/s/payguard_balance_add\(gone, amount\) >=/amount >=/'
mutant gone_settled src/money/surplus.c "regress taken_back" '/^payguard_refund_takes_rest\(/,/^}/s/gone < payment->received_amount/true/'
mutant begun_settled src/money/surplus.c "regress taken_back" '/^payguard_refund_takes_rest\(/,/^}/s/^\t\t\trefunds\[i\]\.status != REFUND_SUCCEEDED\)$/\t\t\tfalse)/'
mutant revived_is_closed src/evidence/apply.c "regress processing" '/^follow\(/,/^}/s/^\t\tpayguard_task_remove\("close", .*$/\t\t;/'
mutant reopened_since src/requests/reopen_order.c "regress taken_back" 's/^\t\tpayguard_task_outdate\(.*$//'
mutant owed_twice src/money/surplus.c "regress taken_back" '/^payguard_refund_what_is_here\(/,/^}/s/^\t\t\trefund\.amount -= others\[i\]\.amount;$/\t\t\t;/'
mutant later_time_lost src/evidence/reversal.c "regress taken_back" 's/^\t\t\tnote_later\(report, refund, applied\);$//'
mutant processing_charged src/evidence/apply.c "regress processing" 's/^\t\tpayguard_task_remove\("charge", payguard_payment_about\(payment\)\);$/\t\t;/'
mutant told_again_counted src/evidence/reversal.c "regress echo" '/^name_refund\(/,/^}/s/^\tif \(fitting == 0\)$/\tif (true)/'
mutant told_again_guessed src/evidence/reversal.c "regress echo" '/^name_refund\(/,/^}/s/^\tif \(fitting == 1\)$/\tif (true)/'
mutant made_twice_unasked src/evidence/returned.c "regress echo" 's/^\tif \(unnamed\)$/\tif (false)/'
mutant made_in_console_asked src/evidence/returned.c "regress echo" '/^alert_made_twice\(/,/^}/s/report->note \|\| report->reversal_kind \|\|/report->note ||/'
mutant another_id_replayed src/evidence/returned.c "regress echo" '/^is_under_another_id\(/,/^}/s/refund->status == REFUND_SUCCEEDED/false/'

# the queue
mutant any_token src/queue/lease.c "regress queue" 's/^\t\t   payguard_uuid_equal\(lease->lease_token, answer->token\) \&\&$//'
mutant expired_lease_holds src/queue/lease.c "isolation task_lease" 's/^\t\t   lease->leased_until > GetCurrentTimestamp\(\);$/\t\t   lease->leased_until != 0;/'
mutant charged_again src/queue/lease.c "regress queue" 's/^\tif \(payguard_text_is\(task->kind, "charge"\)\)$/\tif (false)/'
mutant ack_forgotten src/records/task.c "regress queue" 's/^\tif \(task->tries > 0\)$/\tif (false)/'
mutant task_left src/records/task.c "regress queue" '/^payguard_task_remove_all\(/,/^}/s/i < n;/i < Min(n, 1);/'

# protection
mutant direct_writes src/guard/own.c "regress protection" 's/^\t\tpayguard_store_expects\(relation, operation\)\)$/\t\t(payguard_store_expects(relation, operation) || true))/'
mutant unsafe_ddl src/sql/81_ddl.sql "regress protection" 's/^ALTER EVENT TRIGGER payguard_ddl_end ENABLE ALWAYS;$/ALTER EVENT TRIGGER payguard_ddl_end DISABLE;/'
mutant anyone_acts_for_others src/records/actor.c "regress privileges" 's/^\tif \(!payguard_may_execute\(delegate_function\(\), GetSessionUserId\(\)\)\)$/\tif (false)/'
mutant public_may_execute src/sql/95_private.sql "regress privileges" "s/^ *EXECUTE pg_catalog.format\('REVOKE ALL .*/NULL;/"
mutant no_slot src/base/id.c "regress slots" 's/^\tuuid->data\[7\] = rand_a \& 0xff;$/\tuuid->data[7] = 0;/'
mutant keys_out_of_order src/requests/pay_round.c "isolation batch" 's/round\.repeats = holds_up\(calls, n\);/round.repeats = false;/'
mutant one_holds_up_all src/store/each.c "regress left_out" 's/if \(!payguard_is_about_one\(error\)\)/if (true)/'
mutant unseen_balance src/money/surplus.c "isolation refund_correct" 's/else if \(IsolationUsesXactSnapshot\(\)\)/else if (false)/'
mutant unseen_rejection src/requests/approve.c "isolation pay_reject" '/^open_for_order\(/,/^}/s/^\tpayguard_order_touch\(order\);$//'
mutant unseen_question src/requests/approve.c "isolation approval_ask" '/^ask\(/,/^}/s/^\tpayguard_order_touch\(order\);$//'
mutant unseen_second_person src/requests/resolve_finding.c "isolation finding_accept" 's/^\tpayguard_store_update\(&payguard_alerts, FIELD\(ALERT_F_SEVERITY\), alert\);$//'
mutant stale_retry src/queue/retry.c "isolation task_cancel" 's/payguard_payment_must_be_there/payguard_payment_must_exist/'
mutant stale_refund src/records/refund.c "isolation refund_stale" 's/^\treturn IsolationUsesXactSnapshot\(\)$/\treturn false/'
mutant stale_failure src/evidence/reported.c "isolation report_contrary" 's/!IsolationUsesXactSnapshot\(\) \&\& changes_nothing/changes_nothing/'
mutant unseen_charge src/queue/answer.c "isolation again_cancel" 's/^\tpayguard_order_touch\(order\);$//'
mutant unreadable_waits src/queue/answer_batch.c "regress unreadable" 's/held \|\| answer->bad\.name \|\|/held ||/'
mutant unreadable_learned src/evidence/message.c "regress unreadable" '/^try_again\(/,/^}/s/learned = learn_anew\(/learned = learn(/'
mutant stale_approval src/evidence/facts.c "isolation report_decide" '/^payguard_decide_or_hold\(/,/^}/s/payguard_policy_holds\(order, true\)/payguard_policy_holds(order, false)/'

# who waited, and goes by what he read before
mutant old_asker src/requests/approve.c "isolation approve_own_change" '/^decide_order\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant stale_lease src/queue/lease.c "isolation task_cancel" '/^payguard_lease_lock_order\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant message_of_other src/evidence/message.c "isolation message_order" 's/^\t\tif \(!waits_for\(&waiting\[i\], order, payment\) \|\|$/\t\tif (false ||/'
mutant unread_message src/evidence/message.c "isolation message_refund" '/^try_again\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant stale_message src/evidence/message.c "isolation message_refund" \
  '/^still_matches\(/,/^}/{s/!find_match\(notification, match\) \|\|/match == NULL ||/; s/^\t\tpayguard_refund_must_be_there.*$/\t\t;/}'
mutant unlearned src/evidence/message.c "isolation message_learns" '/^match_waiting\(/,/^}/s/payguard_store_lock\(/payguard_store_find(/'
mutant stale_line src/requests/resolve_finding.c "isolation finding_changes" 's/^\t\tpayguard_refund_must_be_there\(.*$/\t\t;/'
mutant unread_line src/requests/resolve_finding.c "isolation finding_changes" '/^lock_target\(/,/^}/s/^\tpayguard_store_refresh\(\);$/\t;/'
mutant stale_record src/evidence/apply.c "isolation finding_changes" 's/^\t\t\tpayguard_payment_must_be_there\(payment->payment_id, payment\);$//'
mutant stale_second src/evidence/apply.c "isolation finding_changes" 's/^\t\tpayguard_payment_must_be_there\(other\.payment_id, \&other\);$//'
mutant stale_first src/evidence/apply.c "isolation finding_changes" '/^apply_to_dismissed\(/,/^}/s/payguard_payment_must_be_there/payguard_payment_must_exist/'
mutant claimed_unseen src/queue/claim.c "isolation found_before" '/^lease_some\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant lost_unseen src/queue/lease.c "isolation found_before" '/^end_lease\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant requeued_unseen src/queue/retry.c "isolation found_before" '/^payguard_requeue_task\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant recorded_unseen src/evidence/reported.c "isolation record_waits" '/^payguard_record_payment\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant undone_unseen src/evidence/reversal.c "isolation reinstate_waits" '/^reinstate_waiting\(/,/^}/s/^\tpayguard_store_refresh\(\);.*$//'
mutant unasked src/requests/approve.c "isolation approval_ask" '/^payguard_request_approval\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant reopened_unseen src/requests/reopen_order.c "isolation reopen_waits" '/^payguard_reopen_order\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant expired_unseen src/requests/close_order.c "isolation found_before" '/^expire_one\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant untold src/requests/create_order.c "isolation refused_detail" '/^payguard_update_order\(/,/^}/s/^\tpayguard_store_refresh\(\);$//'
mutant cancelled_unseen src/requests/close_order.c "isolation refused_detail" '/^payguard_cancel_order\(/,/^}/s/^\t\tpayguard_store_refresh\(\);$//'
mutant unread_key src/money/refunding.c "isolation txn_race" '/^store_new\(/,/^}/s/^\t\tpayguard_store_refresh\(\);$//'

mutant second_approval src/records/approval.c "isolation finding_accept" \
  's/if \(!payguard_store_insert_new\(&payguard_approvals, key_of\(&approval\), &approval\)\)/if (payguard_store_insert(\&payguard_approvals, \&approval), false)/'
mutant error_swallowed src/store/each.c "regress left_out" 's/if \(!payguard_is_about_one\(error\)\)/if (false)/; s/if \(!payguard_is_about_one\(again\)\)/if (false)/'

# guards
mutant many_states src/guard/settings.h "regress guard_arguments" 's/^#define MAX_GUARD_STATES 1000$/#define MAX_GUARD_STATES 100000/'
mutant long_arrays src/base/argument.h "regress guard_arguments" 's/^#define MAX_ELEMENTS 100000/#define MAX_ELEMENTS 10000000/'
mutant paid_without_order src/guard/settings.c "regress guard" 's/^(\t\t\tguard->states\[i\]\.paid) = false;$/\1 = guard->states[i].paid;/'
mutant index_trusted src/guard/bad_rows.c "regress guard" 's/^\tif \(reading\.sort\)$/\tif (false)/'
mutant drop_race src/guard/guard_table.c "isolation guard_drop" 's/try_relation_open\(/relation_open(/'
mutant newer_rows src/guard/bad_rows.c "isolation guard_snapshot" 's/GetTransactionSnapshot\(\), true/GetLatestSnapshot(), true/'
mutant rights_unchecked src/sql/80_protect.sql "regress verify" 's/AND NOT r\.rolsuper/AND false/'
mutant order_by_hand src/sql/85_verify.sql "regress verify" 's/WHERE \(o\.amount::text, o\.currency\) IS DISTINCT FROM .*$/WHERE false/'
mutant money_by_hand src/sql/85_verify.sql "regress verify" "s/WHERE o\.status IN .* AND p\.status = 'succeeded'\$/WHERE false/"
mutant correction_unseen src/sql/85_verify.sql "regress verify" "s/AND from_status IN \('succeeded', 'surplus'\)/AND false/"
mutant any_correction src/sql/85_verify.sql "regress verify" "s/AND from_status IN \('succeeded', 'surplus'\)/AND true/"
mutant ddl_untouched src/guard/command.c "regress guard_ddl" 's/^\tif \(running\)$/\tif (false)/'
mutant ddl_few_touched src/guard/command.c "regress guard_nested" '/^touch\(/,/^}/s/^\t\tcommand->any = true;$/\t\treturn;/'
mutant ddl_nothing_then src/guard/command.c "regress guard_ddl" 's/^\tthen->curcid = command->since;$//'
mutant ddl_old_snapshot src/guard/command.c "isolation guard_exchange" 's/PushCopiedSnapshot\(GetLatestSnapshot\(\)\)/PushCopiedSnapshot(GetTransactionSnapshot())/'
mutant ddl_undone_settled src/guard/command.c "regress guard_nested" 's/^\t\tforget_settled\(command, subtransaction\);$/\t\t;/'
mutant ddl_last_settled src/guard/follow.c "regress guard_nested" 's/^\ttouched->put_on = settled \&\& settled->guarded;$/\ttouched->put_on = false;/'
mutant ddl_inner_lost src/guard/command.c "regress guard_nested" 's/^\t\touter->settled = lappend\(outer->settled, lfirst\(cell\)\);$/\t\t;/'
mutant own_untouched src/guard/protect.c "regress protection" 's/^\t\tif \(payguard_own_is_relation\(touched\.relation\)\)$/\t\tif (false)/'
mutant using_at_the_start src/guard/follow.c "isolation guard_exchange" '/^payguard_guard_ddl_end\(/,/^}/s/^\t\tcheck_alter\(.*$/\t\t;/'
mutant detach_at_the_end src/guard/follow.c "isolation guard_detach" '/^payguard_guard_ddl_end\(/,/^}/s/^\t\tcheck_alter\(.*$/\t\tcheck_detach((AlterTableStmt *) statement);/'
mutant labels_unchecked src/guard/follow.c "regress guard_ddl" 's/^\t\tcheck_label\(.*$/\t\t;/'
mutant partition_gone src/guard/losing.c "regress guard_partitions" 's/^\t\tmay = state >= 0 \&\& guard->states\[state\]\.deletable;$/\t\tmay = guard != NULL;/'
mutant partitioned_gone src/guard/losing.c "regress guard_partitions" 's/^\t\t\t!list_member_oid\(dropped, lfirst_oid\(cell\)\)\)$/\t\t\ttrue)/'
mutant partition_locked_first src/guard/losing.c "isolation drop_partition" 's/^\t\tLockRelationOid\(get_partition_parent.*$/\t\t;/'
mutant twins_unlocked src/guard/statement.c "isolation drop_index_twins" 's/^\tLockRelationOid\(table, ShareUpdateExclusiveLock\);$//'
mutant locked_first src/guard/statement.c "isolation drop_race" 's/^\tif \(!found\)$/\tif (true)/'
mutant schema_unseen src/guard/follow.c "regress guard_ddl" 's/^\tif \(IsA\(statement, CreateSchemaStmt\)\)$/\tif (false)/'
mutant function_unseen src/sql/81_ddl.sql "regress guard_ddl" "s/'DROP FUNCTION', 'DROP ROUTINE', //"
mutant condition_fails src/guard/once.c "regress guard_indexes" 's/^\tif \(error \&\& !payguard_is_about_one\(error\)\)$/\tif (error)/'
mutant invalid_twin src/guard/once.c "regress guard_indexes" 's/!form->indisunique \|\| !form->indisvalid \|\|/!form->indisunique ||/'
mutant named_index src/guard/statement.c "regress guard_indexes" 's/^\t\tpayguard_own_names_function\(range->relname\)\)$/\t\tfalse)/'
mutant archive_not_asked src/guard/statement.c "isolation drop_archived" 's/ \|\| has_rows\("archived_orders"\);$/;/'
mutant orders_of_old src/guard/statement.c "isolation drop_race" 's/^\tPushActiveSnapshot\(GetLatestSnapshot\(\)\);$/\tPushActiveSnapshot(GetTransactionSnapshot());/'
mutant clones_remade src/guard/follow.c "regress guard_ddl" 's/^\tif \(!OidIsValid\(now->parent\)\)$/\tif (true)/'
mutant not_forgotten src/guard/guard_table.c "regress guard_ddl" 's/^\t\tpayguard_command_settles\(lfirst_oid\(cell\), false\);$/\t\t;/'
mutant row_any_amount src/guard/row_order.c "regress guard_amount" 's/^\treturn same \? ROW_ORDER_FITS : ROW_ORDER_OTHER_AMOUNT;$/\treturn ROW_ORDER_FITS;/'
mutant row_any_currency src/guard/row_order.c "regress guard_amount" 's/^\tif \(isnull \|\| pg_strcasecmp\(payguard_guard_value\(/\tif (false \&\& pg_strcasecmp(payguard_guard_value(/'
mutant amount_unheld src/guard/settings.c "regress guard_amount" 's/^\t\tguard->held\.columns\[guard->held\.n\+\+\] = guard->amount;$/\t\t;/'
mutant amount_of_old src/guard/row_order.c "regress guard_amount" 's/^\t\tresult = stays \&\& order\.returned_payment_id/\t\tresult = false/'
mutant closed_open src/guard/row.c "regress guard_amount" 's/^\telse if \(to->closed \&\& .*$/\telse if (false)/'
mutant closed_unheld src/guard/row.c "regress guard_amount" 's/^\tif \(guard->states\[from\]\.closed \&\& guard->states\[to\]\.closed\)$/\tif (false)/'
mutant never_closed src/guard/row_order.c "regress guard_amount" 's/\(stays \&\& has_ended\(order_id\)\)/false/'
mutant renamed_amount src/guard/follow.c "regress guard_amount" 's/strcmp\(key, "amount_column"\) == 0/false/'
mutant followed_by_caller src/guard/sync_row.c "regress guard_follow" 's/^\tSetUserIdAndSecContext\(followed->owner,$/\tSetUserIdAndSecContext(acting.identity.user,/'
mutant followed_unrestricted src/guard/sync_row.c "regress guard_follow" 's/acting\.identity\.context \| SECURITY_RESTRICTED_OPERATION/acting.identity.context | SECURITY_LOCAL_USERID_CHANGE/'
mutant followed_path src/guard/sync_row.c "regress guard_follow" 's/pg_catalog, %s, pg_temp/pg_temp, %s/'
mutant rows_hidden src/guard/sync_row.c "regress guard_follow" 's/"row_security", "off"/"row_security", "on"/'
mutant pulled_back src/guard/sync_row.c "regress guard_follow" 's/^\treturn leads_to\(guard, to, from\) \? 0 : -1;$/\treturn -1;/'
mutant refunded_unpaid src/guard/sync_row.c "regress guard_follow" 's/payguard_row_order_refunded\(move->steps > 1 \? order_id : NULL\)/payguard_row_order_refunded(NULL)/'
mutant suppressed_row src/guard/sync_row.c "regress guard_follow" 's/^\t\tif \(now\.state == state\)$/\t\tif (true)/'
mutant like_id src/guard/sync_row.c "regress guard_follow" 's/^(\t+ *)payguard_str\(search->order_id\)\) == 0\)$/\1payguard_str(search->order_id)) != 1000)/'
mutant waiting_lost src/guard/sync_rows.c "isolation sync_locked" 's/^\tpayguard_store_execute\(\&keep_waiting, values, NULL\);$//'
mutant event_twice src/guard/sync_rows.c "regress guard_follow" 's/^\t\tpayguard_consumer_move\(followed->consumer, .*$//'
mutant position_waits src/guard/sync_rows.c "isolation sync_locked" 's/payguard_consumer_is_free\(payguard_text\(followed\.guard->consumer\)\)/true/'
mutant table_waits src/guard/sync_rows.c "isolation sync_locked" 's/!ConditionalLockRelationOid\(trigger->relation, RowExclusiveLock\)/(LockRelationOid(trigger->relation, RowExclusiveLock), false)/'
mutant goes_on_forever src/guard/sync_rows.c "regress guard_follow" 's/^\t\tforget_gone\(\);$/\t\t;/'
mutant alert_stays src/guard/sync_rows.c "regress guard_follow" 's/^\t\tend_alert\(cause\);$/\t\t;/'
mutant order_index_gone src/guard/problem.c "regress guard_follow" 's/^\tif \(guard \&\& guard->follows \&\& .*$/\tif (false \&\& guard \&\& guard->follows \&\& !OidIsValid(trigger->parent) \&\&/'
mutant order_index_twin src/guard/losing.c "regress guard_follow" 's/^\tif \(guard \&\& guard->follows \&\& .*$/\tif (false \&\& guard \&\& guard->follows \&\& !OidIsValid(trigger->parent) \&\&/'

# the way in: what is imported, who is asked, what is emptied
mutant policy_unnoticed src/requests/set_policy.c "regress import" 's/^\tif \(keep_policy\(\&policy, asks\) \&\& .*\)$/\tif (keep_policy(\&policy, asks) \&\& false)/'
mutant import_any src/requests/import_order.c "regress import" 's/^\t\tcompareJsonbContainers\(.*\) == 0\)$/\t\ttrue)/'
mutant import_archived src/requests/import_order.c "regress import" 's/^\tif \(payguard_store_find\(\&payguard_payments, PAYMENT_BY_CHANNEL_TXN, .*\)\)$/\tif (false)/'
mutant import_counted src/watch/maintain.c "regress import" "/^\t\"    AND e\.kind <> 'order\.imported'\"$/d"
mutant import_young src/watch/retention.c "regress import" "s/ AND e\.kind <> 'order\.imported' OR/ OR/"
mutant import_behind src/watch/retention.c "regress import" 's/^\t\t\tif \(payguard_store_execute\(\&next_imported, values, NULL\) == 0\)$/\t\t\tif (true)/'
mutant reset_by_role src/requests/reset.c "regress reset" 's/s\.setrole " OP_EQ " 0/true/'
mutant reset_anywhere src/requests/reset.c "regress reset" 's/^\tif \(payguard_store_execute\(\&find_permission, NULL, NULL\) == 0\)$/\tif (false)/'
mutant hold_unasked src/money/policy.c "regress duplicates" 's/^\t\t!find_duplicate\(order, asked\.since\[DUPLICATE_HOLD\], \&other\)\)$/\t\ttrue)/'
mutant guest_approved src/requests/create_order.c "regress approvals" 's/ \&\& !\(changed \& FIELD\(ORDER_F_CUSTOMER_ID\)\) \&\&$/ \&\&/'
mutant other_customer src/requests/create_order.c "regress order_life" 's/^\tif \(customer_id == NULL \|\| order->customer_id == NULL \|\|$/\tif (true ||/'
mutant ask_rejected src/requests/approve.c "regress duplicates" 's/^\t\trefuse_rejected\(\&approval\);$/\t\t;/'

mutant import_unnamed src/money/surplus.c "regress import" 's/may_be_imported\(order, payment\) \? REFUND_AWAITING_APPROVAL : status/status/'
mutant trigger_as_caller src/guard/sync_row.c "regress sync_triggers" 's/^\tOid before = payguard_actor_act_for\(followed->owner\);$/\tOid before = payguard_actor_act_for(InvalidOid);/'
mutant refunded_ships src/guard/row_order.c "regress sync_triggers" 's/refunded \&\& trigger_depth\(\) == refunded_depth/refunded \&\& trigger_depth() >= 0/'
mutant closed_went_on src/guard/sync_row.c "regress sync_triggers" 's/status == ORDER_PAID \&\& guard->states\[from\]\.closed/false/'

# reserved money
mutant reserved_expires src/rules/machine.c "regress capture" 's/^\treturn status == PAYMENT_PROCESSING \|\| status == PAYMENT_AUTHORIZED \|\|$/\treturn status == PAYMENT_PROCESSING ||/' short
mutant capture_beyond src/requests/capture_payment.c "regress capture" 's/^\tif \(order->amount <= payment->authorized_amount\)$/\tif (true)/' short
mutant capture_anything src/requests/capture_payment.c "regress capture" 's/^\tif \(payment->status != PAYMENT_AUTHORIZED\)$/\tif (payment->status == PAYMENT_CLOSING)/'
mutant raised_beyond src/requests/create_order.c "regress capture" 's/Min\(reserved->authorized_amount, reserved->amount\)/reserved->authorized_amount/'
mutant reserved_unlocked src/requests/create_order.c "isolation capture_update" 's/^\t\t\(reserved\.status == PAYMENT_AUTHORIZED \&\&$/\t\t(false \&\&/'
mutant void_claimed src/records/payment.c "isolation capture_lease" 's/^\t\t\tcapture\.sent\);$/\t\t\tfalse);/'
mutant void_leaves_capture src/requests/close_order.c "regress capture" 's/^\t\t!payguard_payment_withdraw_capture\(payment\)\)$/\t\tfalse)/'
mutant overtaken_captures src/evidence/received.c "regress capture" 's/^\t\tpayguard_payment_withdraw_capture\(\&other\);$/\t\t;/'
mutant stale_refusal src/rules/decide.c "isolation capture_late" 's/^\t\t\(facts->payment == PAYMENT_CAPTURING \&\& !facts->fresh\)\)$/\t\tfalse)/'
mutant unsent_refused src/evidence/facts.c "regress capture" 's/^\treturn payment->status != PAYMENT_CAPTURING \|\| !report->queried \|\|$/\treturn true ||/'
mutant person_unsends src/requests/settle.c "regress capture" 's/^\t\t\.queried = true,$/\t\t.queried = false,/'
mutant anything_reserves src/evidence/apply.c "regress capture" 's/^\t\t\tif \(report->status == CHANNEL_AUTHORIZED\)$/\t\t\tif (true)/'
mutant old_authorization src/evidence/received.c "regress capture" 's/^(\tbool believed = report->fresh) \|\| .*$/\1;/'
mutant less_unbelieved src/evidence/received.c "regress capture" 's/^\t\t amount < payment->authorized_amount\)\)$/\t\t false))/'
mutant captured_blindly src/queue/lease.c "regress capture" '/^lose\(/,/^}/s/text_is\(task->kind, "capture"\)/text_is(task->kind, "none")/'
mutant captured_again src/evidence/facts.c "regress capture" 's/^\t\t\t\t\t\tchannel->idempotent_charge \&\& /\t\t\t\t\t\ttrue \&\& /'
mutant deadline_needs_approval src/requests/create_order.c "regress capture" 's/^\t\t\t\(changed \& \(FIELD\(ORDER_F_AMOUNT\) \| FIELD\(ORDER_F_CURRENCY\)\)\) \&\&$/\t\t\ttrue \&\&/'
mutant refunds_unseen src/records/refund.c "regress refunds" '/^payguard_refund_list_of\(/,/^}/s/^\tif \(!payguard_store_may_have/\tif (payguard_store_may_have/'
mutant lowered_needs_approval src/money/policy.c "regress capture" 's/approval->amount >= order->amount/approval->amount == order->amount/'
mutant old_question_believed src/evidence/apply.c "regress capture" 's/^\telse if \(changed && due\.run_at <= now\)$/\telse if (false)/'
mutant capture_id_anew src/evidence/received.c "regress capture" 's/^\tif \(payment->capture_amount != NO_AMOUNT\)$/\tif (false)/'
mutant cancelled_captures src/queue/retry.c "regress capture" '/^give_up_capture\(/,/^}/s/^\tif \(order->closing_as == ORDER_NONE \&\& .*$/\tif (true)/'
mutant console_part src/evidence/facts.c "regress capture" 's/\(amount < asked \&\& !may_take_less\)/(amount < asked)/'
mutant capture_taken_as_asked src/records/payment.c "regress capture" 's/^\treturn payment->capture_amount != NO_AMOUNT \? payment->capture_amount$/\treturn false ? payment->capture_amount/'
mutant capture_told_less src/queue/claim.c "regress capture" 's/^(\t\t\t\t\t  : )captures .*$/\1false ? (int64) 0/'
mutant expiring_unseen src/watch/maintain.c "regress capture" 's/\&escalate_expiring, *//'
mutant capture_uncovered src/evidence/facts.c "regress capture" '/^covers_capture\(/,/^}/s/report->amount >= payment->capture_amount/true/'
mutant capture_any_currency src/evidence/facts.c "regress capture" '/^covers_capture\(/,/^}/s/report->currency == NULL \|\|/true ||/'
mutant part_not_revived src/evidence/facts.c "regress capture" '/^still_fits\(/,/^}/s/^\tif \(report->status == CHANNEL_AUTHORIZED .*$/\tif (false)/'
mutant part_unreserved src/evidence/facts.c "regress capture" '/^still_fits\(/,/^}/s/^\tif \(report->status == CHANNEL_AUTHORIZED \&\&/\tif (/'
mutant part_never_reserved src/evidence/facts.c "regress capture" '/^still_fits\(/,/^}/s/ \&\& payment->authorized_amount != NO_AMOUNT\)$/)/'
mutant more_revived src/evidence/facts.c "regress capture" '/^still_fits\(/,/^}/s/order->amount <= payment->amount/true/'
mutant currency_revived src/evidence/facts.c "regress capture" '/^still_fits\(/,/^}/s/^\t\t\t   payguard_text_equal\(order->currency, .*$/\t\t\t   true;/'
mutant sent_charge_again src/queue/answer.c "regress capture" '/^takes_money\(/,/^}/s/payguard_text_is\(task->kind, "charge"\)/false/'
mutant sent_capture_again src/queue/answer.c "regress capture" '/^takes_money\(/,/^}/s/payguard_text_is\(task->kind, "capture"\)/false/'
mutant close_done_once src/queue/answer.c "regress queue" '/^goes_on\(/,/^}/s/^\treturn payguard_payment_is_open\(.*$/\treturn false;/'
mutant anything_goes_on src/queue/answer.c "regress queue" '/^goes_on\(/,/^}/s/^\tif \(!payguard_text_is\(task->kind, "close"\)\)$/\tif (false)/'
mutant held_past_deadline src/requests/close_order.c "regress capture" '/^payguard_payment_close\(/,/^}/s/^\tif \(held \&\& .*$/\tif (false)/'
mutant stale_capture src/requests/close_order.c "isolation capture_lease" '/^payguard_payment_close\(/,/^}/s/^\t\tpayguard_payment_must_be_there\(.*$/\t\t;/'
mutant question_put_off src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/^\telse if \(report->fresh \|\| .*$/\telse if (true ||/'
mutant answer_asks_at_once src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/^\telse if \(report->fresh \|\|/\telse if (/'
mutant reserved_asked_soon src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/ was != payment->status \|\|$/ false ||/'
mutant doubts_wait src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/^(\tbool doubts =) .*$/\1 false \&\&/'
mutant other_amount_waits src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/report->amount != payment->authorized_amount/false/'
mutant less_waits src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/report->amount < payment->amount/false/'
mutant asker_doubted src/evidence/apply.c "regress capture" '/^ask\(/,/^}/s/^(\tbool doubts =) !report->fresh/\1 true/'
mutant less_stands src/evidence/received.c "regress capture" 's/^\t\telse if \(was == PAYMENT_AUTHORIZED\)$/\t\telse if (false)/'
mutant failed_stands_paid src/evidence/received.c "regress capture" '/^payguard_received_follow_capture\(/,/^}/s/payguard_payment_was_received\(payment\)/false/'
mutant failed_stands_closed src/evidence/received.c "regress capture" '/^payguard_received_follow_capture\(/,/^}/s/was == PAYMENT_CLOSING/false/'
mutant failed_stands_other src/evidence/received.c "regress capture" '/^payguard_received_follow_capture\(/,/^}/s/was == PAYMENT_SUPERSEDED/false/'
mutant capture_told_customer src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/^\treturn live \&\& .*$/\treturn false \&\&/'
mutant dead_told_customer src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/payguard_text_is\(alert->kind, "dead_task"\)/false/'
mutant slow_told_customer src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/payguard_text_is\(alert->kind, "payment_open_too_long"\)/false/'
mutant failed_told_customer src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/payguard_text_is\(alert->kind, "capture_failed"\)/false/'
mutant expiring_told_customer src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/payguard_text_is\(alert->kind, "authorization_expiring"\)/false/'
mutant slow_charge_untold src/requests/order_status.c "regress capture" '/^is_shops_matter\(/,/^}/s/live->status == PAYMENT_CAPTURING/true/'
mutant word_on_its_way src/requests/refusal_of.c "regress waiting_cases" 's/^\t\treturn payguard_payment_is_open\(payment\.status\) \|\|$/\t\treturn false ||/'
mutant part_guessed src/sql/79_case.sql "regress waiting_cases" 's/ AND is_known AND / AND /'
mutant part_booked_whole src/sql/79_case.sql "regress waiting_cases" "s/'amount', coalesce\(p\.capture_amount, p\.amount\)/'amount', p.amount/"
mutant part_told_whole src/sql/79_case.sql "regress waiting_cases" "s/'attempt', payguard\.money\(coalesce\(p\.capture_amount, /'attempt', payguard.money(coalesce(/"
mutant refused_whole src/sql/79_case.sql "regress waiting_cases" "s/ e\.to_status = 'capturing'\$/ false/"
mutant refused_unnamed src/sql/79_case.sql "regress waiting_cases" "s/WHEN facts -> 'attempt' = facts -> 'reserved' THEN/WHEN true THEN/"

# drivers, and calls within calls
mutant outer_time_lost src/queue/driver.c "regress drivers_nested" 's/^\tif \(running\)$/\tif (false)/'
mutant own_time_only src/queue/driver.c "regress drivers_nested" 's/running \? Min\(deadline, running->deadline\) : deadline/deadline/'
mutant caught_by_others src/queue/driver.c "regress drivers_nested" 's/^\t\tif \(has_fired\)$/\t\tif (false)/'
mutant cancel_lost src/queue/driver.c "regress drivers_nested" 's/^\t\twas_cancelled = true;$/\t\twas_cancelled = false;/'
mutant lock_is_cancel src/queue/driver.c "isolation driver_cancel" 's/^\tif \(!get_timeout_indicator\(LOCK_TIMEOUT, false\)\)$/\tif (true)/'
mutant error_leaves_call src/records/call.c "regress calls" 's/^\tif \(event != SUBXACT_EVENT_ABORT_SUB\)$/\tif (true)/'
mutant call_never_ends src/records/call.c "regress calls" 's/^\tncalls--;$//'
mutant long_batches src/base/argument.c "regress limits" 's/^\tif \(ArrayGetNItems\(ARR_NDIM\(array\), ARR_DIMS\(array\)\) > MAX_ELEMENTS\)$/\tif (false)/'

# what is no text
mutant bytes_as_text src/base/argument.c "regress not_text" 's/^\telse if \(!pg_verifymbstr\(VARDATA_ANY\(result\), .*$/\telse if (false)/'
mutant bytes_in_json src/base/argument.c "regress not_text" 's/^\t\t\tpart\.type == jbvString \&\&$/\t\t\tpart.type == jbvNull \&\&/'
mutant odd_role src/records/actor.c "regress not_text" 's/^\treturn payguard_clean_text\(/\treturn payguard_text(/'
mutant backslash_escapes src/sql/65_settlement.sql "regress backslashes" "s/!~ \\\$\\\$(.*)\\\$\\\$\)/!~ '\1')/"

# cases
mutant looks_locking src/store/rows.c "regress waiting_cases" '/^lock_by_key\(/,/^}/s/payguard_store_only_looks\(\)/false/'
mutant looks_writing src/records/balance.c "regress waiting_cases" 's/^\tif \(payguard_store_only_looks\(\)\)$/\tif (false)/'
mutant rejected_in_vain src/requests/approve.c "regress approvals" '/^judge_rejection\(/,/^}/s/^\t\treturn true;$/\t\treturn order != NULL;/; /^judge_rejection\(/,/^}/s/payguard_policy_holds\(order, true\)/true/'
mutant unnamed_forgotten src/evidence/apply.c "regress taken_back" '/^has_open_amount\(/,/^}/s/^\tif \(!payguard_payment_brought_money\(payment\)\)$/\tif (payment->idempotency_key == NULL || !payguard_payment_brought_money(payment))/'
