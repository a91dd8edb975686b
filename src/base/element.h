/*
 * element.h
 *		The memory of one element of a batch.
 */
#ifndef PAYGUARD_BASE_ELEMENT_H
#define PAYGUARD_BASE_ELEMENT_H

extern MemoryContext payguard_element_memory(void);
extern MemoryContext payguard_element_begin(MemoryContext memory);
extern void payguard_element_end(MemoryContext memory, MemoryContext caller);

#endif
