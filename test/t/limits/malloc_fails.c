/*
 * malloc_fails.c
 *		A library to be preloaded: in one process, one allocation fails, or one in so many.
 *
 * The file that PAYGUARD_MALLOC names says what fails; it is mapped, so that a test steers a
 * running server with it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *old, size_t size);

static struct
{
	int pid;		 /* whose allocations; 0: nobody's */
	int next;		 /* after so many it fails; below 0: none */
	int every;		 /* how many come between one failure and the next; 0: there is no next */
	int failed;		 /* how many have failed */
} volatile *control;

__attribute__((constructor)) static void
map_control(void)
{
	const char *path = getenv("PAYGUARD_MALLOC");
	int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *mapped;

	if (file < 0)
		return;
	mapped = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (mapped != MAP_FAILED)
		control = mapped;
}

static int
fails(void)
{
	if (control == NULL || control->pid == 0 || control->pid != getpid() || control->next < 0)
		return 0;
	if (control->next-- > 0)
		return 0;
	if (control->every > 0)
		control->next = control->every;
	control->failed++;
	errno = ENOMEM;
	return 1;
}

void *
malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *
realloc(void *old, size_t size)
{
	return fails() ? NULL : __libc_realloc(old, size);
}
