/* fail_alloc.h - the n-th allocation fails.
 *
 * Linked with -Wl,--wrap for malloc, calloc, realloc, strdup and strndup (CMake: cs_fault_test()), so it counts the
 * calls of our own objects; those inside shared libraries stay as they are. With CS_FAIL_ALLOC_ALL the program's own
 * malloc, calloc and realloc stand before libc's instead, so that libraries' calls count too; not under a sanitizer.
 * One thread.
 */
#ifndef CS_TESTS_FAIL_ALLOC_H
#define CS_TESTS_FAIL_ALLOC_H

#include <stdbool.h>

/** From now on the n-th allocation (1, 2, ...) fails, only that one; 0: none does. Starts counting afresh. */
void fail_alloc_at(unsigned n);
/** Has it failed since fail_alloc_at()? */
bool fail_alloc_hit(void);

#endif
