/* Jobs and feedback: every schema example is read as its folder says, and what is written reads back equal. */
#include "common/feedback.h"
#include "common/job.h"
#include "common/json_slice.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *read_file(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *data = malloc(1 << 20);

    assert_non_null(f);
    assert_non_null(data);
    *len = fread(data, 1, 1 << 20, f);
    assert_true(*len < 1 << 20);
    fclose(f);
    return data;
}

typedef void (*example_fn)(const char *path, const char *text, size_t n);

static void each_example(const char *folder, unsigned least, example_fn fn)
{
    char dir[1024], path[2048];
    struct dirent *e;
    unsigned n = 0;
    DIR *d;

    snprintf(dir, sizeof(dir), "%s/schemas/examples/%s", CS_SOURCE_DIR, folder);
    d = opendir(dir);
    assert_non_null(d);
    while ((e = readdir(d)) != NULL) {
        size_t len;
        char *text;

        if (strstr(e->d_name, ".json") == NULL)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        text = read_file(path, &len);
        fn(path, text, len);
        free(text);
        n++;
    }
    closedir(d);
    assert_true(n >= least);
}

static void job_round_trip(const char *path, const char *text, size_t n)
{
    struct cs_job job = {0}, again = {0};
    struct cs_buf one, two;
    const char *reason = "";
    struct cs_js root;

    if (cs_job_parse(text, n, &job, &reason) != 0)
        fail_msg("%s: %s", path, reason);
    cs_buf_init(&one, 0);
    cs_buf_init(&two, 0);
    cs_job_print(&job, &one);
    assert_int_equal(cs_buf_failed(&one), 0);
    assert_int_equal(cs_js_check(one.data, one.len, 16, &root, NULL), 0);
    assert_int_equal(cs_job_parse(one.data, one.len, &again, &reason), 0);
    cs_job_print(&again, &two);
    assert_string_equal(one.data, two.data);
    cs_buf_clear(&one);
    cs_buf_clear(&two);
    cs_job_clear(&job);
    cs_job_clear(&again);
}

static void job_refused(const char *path, const char *text, size_t n)
{
    struct cs_job job = {0};
    const char *reason = NULL;

    if (cs_job_parse(text, n, &job, &reason) != -EINVAL)
        fail_msg("%s was accepted", path);
    assert_non_null(reason);
    assert_null(job.parts);
}

static void feedback_round_trip(const char *path, const char *text, size_t n)
{
    struct cs_feedback f = {0}, again = {0};
    struct cs_buf one, two;
    const char *reason = "";

    if (cs_feedback_parse(text, n, &f, &reason) != 0)
        fail_msg("%s: %s", path, reason);
    cs_buf_init(&one, 0);
    cs_buf_init(&two, 0);
    cs_feedback_print(&f, &one);
    assert_int_equal(cs_feedback_parse(one.data, one.len, &again, &reason), 0);
    cs_feedback_print(&again, &two);
    assert_string_equal(one.data, two.data);
    cs_buf_clear(&one);
    cs_buf_clear(&two);
    cs_feedback_clear(&f);
    cs_feedback_clear(&again);
}

static void feedback_refused(const char *path, const char *text, size_t n)
{
    struct cs_feedback f = {0};
    const char *reason = NULL;

    if (cs_feedback_parse(text, n, &f, &reason) != -EINVAL)
        fail_msg("%s was accepted", path);
    assert_non_null(reason);
}

static void test_valid_jobs_round_trip(void **state)
{
    (void)state;
    each_example("valid/job.v1", 5, job_round_trip);
}

static void test_invalid_jobs_are_refused_with_a_reason(void **state)
{
    (void)state;
    each_example("invalid/job.v1", 5, job_refused);
}

static void test_valid_feedback_round_trips(void **state)
{
    (void)state;
    each_example("valid/feedback.v1", 3, feedback_round_trip);
}

static void test_invalid_feedback_is_refused_with_a_reason(void **state)
{
    (void)state;
    each_example("invalid/feedback.v1", 3, feedback_refused);
}

/* A reader of this version must survive a writer of the next one. */
static void test_unknown_fields_are_ignored(void **state)
{
    static const char text[] =
        "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42\",\"type\":\"folders\",\"tenant\":"
        "\"acme\","
        "\"mailbox\":\"ann@contoso.example\",\"lane\":\"live\",\"attempt\":1,\"reason\":\"x\","
        "\"created_at\":\"2026-11-25T08:00:00Z\",\"later\":{\"a\":[1,2]}}";
    struct cs_job job = {0};
    const char *reason;

    (void)state;
    assert_int_equal(cs_job_parse(text, sizeof(text) - 1, &job, &reason), 0);
    assert_string_equal(job.mailbox, "ann@contoso.example");
    cs_job_clear(&job);
}

/* Cut anywhere, a job is refused and nothing leaks or is read past its end. */
static void test_every_prefix_is_refused(void **state)
{
    char path[1024];
    size_t len;
    char *text;

    (void)state;
    snprintf(path, sizeof(path), "%s/schemas/examples/valid/job.v1/calendar_delta.json",
             CS_SOURCE_DIR);
    text = read_file(path, &len);
    while (len > 0 && text[len - 1] != '}')
        len--;
    for (size_t n = 0; n < len; n++) {
        struct cs_job job = {0};
        const char *reason = NULL;
        char *part = malloc(n > 0 ? n : 1);

        assert_non_null(part);
        memcpy(part, text, n);
        assert_int_equal(cs_job_parse(part, n, &job, &reason), -EBADMSG);
        free(part);
    }
    free(text);
}

static void test_an_unknown_error_code_is_still_an_error(void **state)
{
    static const char text[] =
        "{\"job_id\":\"01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42\",\"type\":\"folders\",\"tenant\":"
        "\"acme\","
        "\"mailbox\":\"ann@contoso.example\",\"lane\":\"live\",\"attempt\":1,\"outcome\":\"retry\","
        "\"error\":{\"code\":\"from_the_future\",\"scope\":\"mailbox\",\"service_code\":\"bad "
        "code!\"},"
        "\"counts\":{},\"started_at\":\"2026-11-25T08:00:00Z\",\"finished_at\":\"2026-11-25T08:00:"
        "00Z\"}";
    struct cs_feedback f = {0};
    const char *reason;

    (void)state;
    assert_int_equal(cs_feedback_parse(text, sizeof(text) - 1, &f, &reason), 0);
    assert_int_equal(f.fault.code, CS_CODE_INTERNAL);
    assert_int_equal(f.fault.scope, CS_SCOPE_MAILBOX);
    assert_string_equal(f.fault.service_code, ""); /* not a plain token: not kept */
    cs_feedback_clear(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_valid_jobs_round_trip),
        cmocka_unit_test(test_invalid_jobs_are_refused_with_a_reason),
        cmocka_unit_test(test_valid_feedback_round_trips),
        cmocka_unit_test(test_invalid_feedback_is_refused_with_a_reason),
        cmocka_unit_test(test_unknown_fields_are_ignored),
        cmocka_unit_test(test_every_prefix_is_refused),
        cmocka_unit_test(test_an_unknown_error_code_is_still_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
