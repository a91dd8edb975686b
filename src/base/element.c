/*
 * element.c
 *		The memory of a batch: what one element needs while it is dealt with is freed before the next.
 *
 * What is kept of an element is allocated outside of begin and end, or copied into the memory that begin
 * returns.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/element.h"

/*
 * payguard_element_memory makes the memory of one element, within the caller's: it goes with that.
 */
MemoryContext
payguard_element_memory(void)
{
	return AllocSetContextCreate(CurrentMemoryContext, "payguard element",
								 ALLOCSET_DEFAULT_SIZES);
}

/*
 * payguard_element_begin has everything allocated in the memory of one element, and returns what was
 * used before. NULL: the call has one element alone, and nothing needs to be freed.
 */
MemoryContext
payguard_element_begin(MemoryContext memory)
{
	return memory ? MemoryContextSwitchTo(memory) : CurrentMemoryContext;
}

/*
 * payguard_element_end frees what was allocated since payguard_element_begin(), whose answer is `caller`.
 */
void
payguard_element_end(MemoryContext memory, MemoryContext caller)
{
	MemoryContextSwitchTo(caller);
	if (memory)
		MemoryContextReset(memory);
}
