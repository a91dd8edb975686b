/*
 * each.h
 *		What is done to many rows that have nothing to do with each other.
 */
#ifndef PAYGUARD_STORE_EACH_H
#define PAYGUARD_STORE_EACH_H

typedef struct EachItem
{
	text *id;
	void *row;
	bool done;
} EachItem;

extern int payguard_each(const char *kind, EachItem *items, int n,
						 void (*one)(EachItem *item));
extern bool payguard_is_about_one(const ErrorData *error);
extern char *payguard_each_left(void);

#endif
