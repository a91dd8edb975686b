/*
 * own.c
 *		What is payguard's own: what lies in its schema. Whoever would change it is refused with PY902.
 *
 * deny_direct_write() refuses UPDATE, DELETE and TRUNCATE on our tables but the statement that the store has
 * announced.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/refusal.h"
#include "base/text.h"
#include "store/plan.h"
#include "guard/own.h"
#include "guard/owner.h"

PG_FUNCTION_INFO_V1(payguard_deny_direct_write);

/*
 * deny_direct_write() is the trigger function of
 *
 *	CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.orders
 *	FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write();
 *	ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER payguard_protect;
 */
Datum
payguard_deny_direct_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CmdType operation = CMD_UNKNOWN; /* TRUNCATE: never the store's */
	const char *verb = "TRUNCATE";
	const char *relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() was not called as a trigger")));
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() must be fired before a statement")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		operation = CMD_UPDATE;
		verb = "UPDATE";
	}
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		operation = CMD_DELETE;
		verb = "DELETE";
	}
	else if (!TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() must not be fired by an insert")));

	relation = RelationGetRelationName(trigger->tg_relation);
	if (payguard_own_is_relation(RelationGetRelid(trigger->tg_relation)) &&
		payguard_store_expects(relation, operation))
		return PointerGetDatum(NULL);

	{
		Refusal refusal;

		payguard_refuse(
			&refusal, ERR_DIRECT_WRITE,
			psprintf("%s on table \"%s\" is forbidden", verb, relation),
			"payguard's tables are changed by payguard's functions alone. "
			"Nothing has been written.",
			"Use payguard's functions. They are listed in payguard/doc/reference.md, in "
			"the folder that pg_config --docdir names.");
		payguard_raise(&refusal);
	}
}

/*
 * payguard_own_names_function tells whether an index of our tables is one of those that they were made with.
 * Scripts of older versions do not say; any may be.
 */
bool
payguard_own_names_function(const char *index)
{
	Identity identity;
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(index)};
	bool found;

	if (!payguard_own_has_function("own_indexes"))
		return true;
	identity = payguard_as_owner();
	SPI_connect();
	if (SPI_execute_with_args("SELECT FROM payguard.own_indexes() i "
							  "WHERE i.name " OP_EQ " $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read own_indexes()");
	found = SPI_processed > 0;
	SPI_finish();
	payguard_as_before(identity);
	return found;
}

/*
 * payguard_own_has_function tells whether the script that is installed has a function without arguments.
 */
bool
payguard_own_has_function(const char *name)
{
	return SearchSysCacheExists3(
		PROCNAMEARGSNSP, CStringGetDatum(name), PointerGetDatum(buildoidvector(NULL, 0)),
		ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, true)));
}

/*
 * payguard_own_is_relation tells whether a relation lies in payguard's schema.
 */
bool
payguard_own_is_relation(Oid relation)
{
	return OidIsValid(relation) &&
		   get_rel_namespace(relation) == get_namespace_oid(PAYGUARD_SCHEMA, true);
}

/*
 * payguard_own_is_range is payguard_own_is_relation for a relation that a statement names. It is not locked.
 */
bool
payguard_own_is_range(const RangeVar *range)
{
	return range != NULL &&
		   payguard_own_is_relation(RangeVarGetRelid(range, NoLock, true));
}

/*
 * payguard_own_is_made_here tells whether a statement makes a relation in payguard's schema.
 */
bool
payguard_own_is_made_here(const RangeVar *range)
{
	return range->relpersistence != RELPERSISTENCE_TEMP &&
		   RangeVarGetCreationNamespace(range) ==
			   get_namespace_oid(PAYGUARD_SCHEMA, true);
}

/*
 * payguard_own_is_object tells whether a function or type that is named in a statement is in
 * payguard's schema.
 */
bool
payguard_own_is_object(Node *object, ObjectType type)
{
	Oid own = get_namespace_oid(PAYGUARD_SCHEMA, true);
	Oid oid;

	switch (type)
	{
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
			oid = LookupFuncWithArgs(type, castNode(ObjectWithArgs, object), true);
			return OidIsValid(oid) && get_func_namespace(oid) == own;
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
		{
			List *names = IsA(object, TypeName) ? castNode(TypeName, object)->names
												: (List *) object;
			Type tuple =
				LookupTypeName(NULL, makeTypeNameFromNameList(names), NULL, true);
			bool found = false;

			if (tuple)
			{
				found = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace == own;
				ReleaseSysCache(tuple);
			}
			return found;
		}
		default:
			return false;
	}
}

/*
 * payguard_own_refuse raises PY902 for what is payguard's own; only a superuser has a way out. detail: a
 * sentence.
 */
void
payguard_own_refuse(const char *detail)
{
	payguard_refuse_ddl(detail, "A superuser who knows the consequences can set "
								"payguard.allow_unsafe_ddl = on in the session.");
}

/*
 * payguard_refuse_ddl raises PY902; detail and hint: sentences.
 */
void
payguard_refuse_ddl(const char *detail, const char *hint)
{
	Refusal refusal;

	payguard_refuse(&refusal, ERR_UNSAFE_DDL,
					"this command would take away payguard's protection", detail, hint);
	payguard_raise(&refusal);
}

/*
 * payguard_refuse_broken raises PY902 for what a line says: a line of broken_guards().
 */
void
payguard_refuse_broken(const char *what)
{
	payguard_own_refuse(psprintf("Broken: %s.", what));
}
