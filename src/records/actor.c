/*
 * actor.c
 *		Who acts: the session's user, or whom payguard.actor names.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/text.h"
#include "records/actor.h"
#include "records/call.h"

char *payguard_actor_setting = NULL;

/* Whose triggers are running for sync_rows(); InvalidOid: nobody's. */
static Oid acting_for = InvalidOid;

static text *session_role(void);
static bool is_good_actor(const char *actor);
static Oid delegate_function(void);

/*
 * payguard_actor returns who acts: the session's user, or what a delegate has put into
 * payguard.actor. Errors, but for evidence, whose actor is the session's user then: 42501 where
 * another role has set it, 22023 where it is malformed.
 */
text *
payguard_actor(void)
{
	if (OidIsValid(acting_for))
		return payguard_clean_text(GetUserNameFromId(acting_for, false));
	if (payguard_actor_setting == NULL || payguard_actor_setting[0] == '\0' ||
		(payguard_call_is_evidence() && !is_good_actor(payguard_actor_setting)))
		return session_role();
	if (!payguard_may_execute(delegate_function(), GetSessionUserId()))
	{
		const char *role = payguard_str(session_role());

		ereport(
			ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("role \"%s\" must not set payguard.actor", role),
			 errdetail("Only a role with the access \"delegate\" acts for others. "
					   "Nothing has been written."),
			 errhint("Grant it: SELECT payguard.grant_access('%s', 'delegate').", role)));
	}
	return payguard_arg_id(CStringGetTextDatum(payguard_actor_setting), false,
						   "payguard.actor");
}

/*
 * payguard_actor_act_for has another role be who acts, whatever is set, until it is called again; InvalidOid: the
 * session's user, as ever. Returns who it was before.
 */
Oid
payguard_actor_act_for(Oid role)
{
	Oid before = acting_for;

	acting_for = role;
	return before;
}

/*
 * session_role returns the name of the session's user. Roles are of all databases, and the bytes
 * of a name that was made in one with another encoding may be no text in this one.
 */
static text *
session_role(void)
{
	return payguard_clean_text(GetUserNameFromId(GetSessionUserId(), false));
}

static bool
is_good_actor(const char *actor)
{
	return payguard_arg_is_id(actor) &&
		   payguard_may_execute(delegate_function(), GetSessionUserId());
}

/*
 * delegate_function returns current_actor()'s oid: whoever may execute it has the access
 * "delegate".
 */
static Oid
delegate_function(void)
{
	List *name = list_make2(makeString(pstrdup(PAYGUARD_SCHEMA)),
							makeString(pstrdup("current_actor")));

	return LookupFuncName(name, 0, NULL, false);
}

PG_FUNCTION_INFO_V1(payguard_current_actor);

/*
 * current_actor() → text: who the events of this transaction will name.
 */
Datum
payguard_current_actor(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(payguard_actor());
}

PG_FUNCTION_INFO_V1(payguard_session_role);

/*
 * session_role() → text: the session's user, whom no setting changes.
 */
Datum
payguard_session_role(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(session_role());
}
