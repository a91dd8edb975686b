/*
 * actor.h
 *		Who acts.
 */
#ifndef PAYGUARD_RECORDS_ACTOR_H
#define PAYGUARD_RECORDS_ACTOR_H

extern char *payguard_actor_setting;
extern text *payguard_actor(void);
extern Oid payguard_actor_act_for(Oid role);

#endif
