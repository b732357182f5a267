#include "cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/secret.h"

static char path[64];

static void write_file(const char *p, size_t n)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(path, "/tmp/crmsync-secret-XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    (void)state;
    return unlink(path);
}

static void test_copies_and_compares(void **state)
{
    (void)state;
    struct cs_secret *a = NULL, *b = NULL, *c = NULL;
    char bytes[] = "hunter2";
    assert_int_equal(cs_secret_new(bytes, 7, &a), 0);
    bytes[0] = 'X';
    assert_string_equal(cs_secret_reveal(a), "hunter2");
    assert_int_equal(cs_secret_len(a), 7);
    assert_int_equal(cs_secret_new("hunter2", 7, &b), 0);
    assert_int_equal(cs_secret_new("hunter22", 8, &c), 0);
    assert_true(cs_secret_equal(a, b));
    assert_false(cs_secret_equal(a, c));
    cs_secret_free(b);
    assert_int_equal(cs_secret_new("hunter3", 7, &b), 0);
    assert_false(cs_secret_equal(a, b));
    cs_secret_free(a);
    cs_secret_free(b);
    cs_secret_free(c);
    cs_secret_free(NULL);
}

static void test_refuses_what_is_no_secret(void **state)
{
    (void)state;
    struct cs_secret *s = NULL;
    char *big = calloc(1, CS_SECRET_MAX + 1);
    assert_non_null(big);
    memset(big, 'a', CS_SECRET_MAX + 1);
    assert_int_equal(cs_secret_new("", 0, &s), -EINVAL);
    assert_int_equal(cs_secret_new("a\0b", 3, &s), -EINVAL);
    assert_int_equal(cs_secret_new(big, CS_SECRET_MAX + 1, &s), -EMSGSIZE);
    assert_null(s);
    assert_int_equal(cs_secret_new(big, CS_SECRET_MAX, &s), 0);
    cs_secret_free(s);
    free(big);
}

static void test_reads_a_file_without_its_line_end(void **state)
{
    (void)state;
    static const struct {
        const char *file, *want;
    } t[] = {{"abc", "abc"},
             {"abc\n", "abc"},
             {"abc\r\n", "abc"},
             {"abc\n\n", "abc\n"},
             {" a b ", " a b "}};
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct cs_secret *s = NULL;
        write_file(t[i].file, strlen(t[i].file));
        assert_int_equal(cs_secret_from_file(path, &s), 0);
        assert_string_equal(cs_secret_reveal(s), t[i].want);
        cs_secret_free(s);
    }
    struct cs_secret *s = NULL;
    write_file("\n", 1);
    assert_int_equal(cs_secret_from_file(path, &s), -EINVAL);
    write_file("", 0);
    assert_int_equal(cs_secret_from_file(path, &s), -EINVAL);
    assert_int_equal(cs_secret_from_file("/nonexistent/secret", &s), -ENOENT);
    assert_int_equal(cs_secret_from_file("/tmp", &s), -EISDIR);

    char *big = malloc(CS_SECRET_MAX + 10);
    assert_non_null(big);
    memset(big, 'a', CS_SECRET_MAX + 10);
    big[CS_SECRET_MAX] = '\n';
    write_file(big, CS_SECRET_MAX + 1);
    assert_int_equal(cs_secret_from_file(path, &s), 0);
    assert_int_equal(cs_secret_len(s), CS_SECRET_MAX);
    cs_secret_free(s);
    write_file(big, CS_SECRET_MAX + 10);
    assert_int_equal(cs_secret_from_file(path, &s), -EMSGSIZE);
    free(big);
}

static void test_wipe(void **state)
{
    (void)state;
    char p[] = "secret";
    cs_wipe(p, 3);
    assert_memory_equal(p, "\0\0\0ret", 7);
    cs_wipe(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies_and_compares),
        cmocka_unit_test(test_refuses_what_is_no_secret),
        cmocka_unit_test_setup_teardown(test_reads_a_file_without_its_line_end, set_up, tear_down),
        cmocka_unit_test(test_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
