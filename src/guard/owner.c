/*
 * owner.c
 *		Work done as the owner of payguard's schema, whoever called; and the error for a table that is gone.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "miscadmin.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

#include "base/text.h"
#include "guard/owner.h"

/*
 * payguard_guard_missing raises 42P01: a table that was named by its oid is gone.
 */
void
payguard_guard_missing(Oid table)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
					errmsg("relation with OID %u does not exist", table),
					errdetail("Nothing has been changed.")));
}

/*
 * payguard_as_owner becomes the owner of payguard's schema, for queries of our own; names
 * in the user's statement are looked up as the user. An error ends it as well.
 */
Identity
payguard_as_owner(void)
{
	Identity identity;
	Oid owner = InvalidOid;
	HeapTuple tuple = SearchSysCache1(
		NAMESPACEOID, ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, false)));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "payguard: cannot read the schema");
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&identity.user, &identity.context);
	SetUserIdAndSecContext(owner, identity.context | SECURITY_LOCAL_USERID_CHANGE);
	return identity;
}

/*
 * payguard_as_before becomes again who payguard_as_owner() found.
 */
void
payguard_as_before(Identity identity)
{
	SetUserIdAndSecContext(identity.user, identity.context);
}
