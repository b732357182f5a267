/* cmocka_all.h - cmocka and the headers that it needs before it. */
#ifndef CS_TESTS_CMOCKA_ALL_H
#define CS_TESTS_CMOCKA_ALL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
