#include "cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json_slice.h"
#include "common/log.h"

static int fd;
static char path[64];
static char text[1 << 20];

static int set_up(void **state)
{
    (void)state;
    strcpy(path, "/tmp/crmsync-log-XXXXXX");
    fd = mkstemp(path);
    return fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    return close(fd) | unlink(path);
}

/* Everything written so far, NUL-terminated. */
static const char *written(void)
{
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    text[n] = '\0';
    return text;
}

static size_t count_lines(const char *s)
{
    size_t n = 0;
    for (; (s = strchr(s, '\n')) != NULL; s++)
        n++;
    return n;
}

static struct cs_js parse_line(const char *s)
{
    struct cs_js v = {0};
    assert_int_equal(cs_js_check(s, strcspn(s, "\n"), 4, &v, NULL), 0);
    return v;
}

static void test_json_line(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    int64_t i = 0;
    assert_int_equal(cs_log_new("crmsync-test", fd, CS_LOG_INFO, CS_LOG_AUTO, &log), 0);
    cs_log_debug(log, "not.written");
    cs_log_info(log, "bare");
    cs_log_info(log, "job.finished", CS_STR("job", "a\"b\n\xff\x01"), CS_I64("n", -5),
                CS_BOOL("ok", true), CS_STR("none", NULL));
    cs_log_info(NULL, "nowhere", CS_I64("n", 1));
    cs_log_free(log);
    const char *s = written();
    assert_int_equal(count_lines(s), 2);
    struct cs_js v = parse_line(s);
    assert_true(cs_js_str_is(cs_js_get(v, "event"), "bare"));
    v = parse_line(strchr(s, '\n') + 1);
    assert_true(cs_js_str_is(cs_js_get(v, "level"), "info"));
    assert_true(cs_js_str_is(cs_js_get(v, "program"), "crmsync-test"));
    assert_true(cs_js_str_is(cs_js_get(v, "job"), "a\"b\n\xEF\xBF\xBD\x01"));
    assert_int_equal(cs_js_i64(cs_js_get(v, "n"), &i), 0);
    assert_int_equal(i, -5);
    assert_int_equal(cs_js_i64(cs_js_get(v, "pid"), &i), 0);
    assert_int_equal(i, getpid());
    assert_int_equal(cs_js_type(cs_js_get(v, "ok")), CS_JS_BOOL);
    assert_int_equal(cs_js_type(cs_js_get(v, "none")), CS_JS_NULL);
    assert_int_equal(cs_js_get(v, "time").n, 26);
}

/* A terminal must not be driven by what is logged. */
static void test_text_line_has_no_control_characters(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    assert_int_equal(cs_log_new("x", fd, CS_LOG_DEBUG, CS_LOG_TEXT, &log), 0);
    cs_log_debug(log, "a.b", CS_STR("plain", "abc"),
                 CS_STR("odd", "\033[2J\xC2\x9B\xff \"q\\\n\xC3\xA9"), CS_STR("empty", ""),
                 CS_I64("n", 7), CS_BOOL("b", false));
    cs_log_free(log);
    const char *s = written();
    assert_int_equal(count_lines(s), 1);
    assert_non_null(strstr(
        s, " debug a.b plain=abc odd=\"\\x1b[2J\\u009b\\xff \\\"q\\\\\\x0a\xC3\xA9\" empty=\"\" "
           "n=7 b=false\n"));
}

static void test_long_lines_stay_whole(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    char *big = malloc(5000);
    assert_non_null(big);
    memset(big, 'x', 4999);
    big[4999] = '\0';
    big[1023] = '\xC3'; /* a character that lies across the cut */
    big[1024] = '\xA9';
    assert_int_equal(cs_log_new("x", fd, CS_LOG_INFO, CS_LOG_JSON, &log), 0);
    cs_log_info(log, "big", CS_STR("a", big), CS_STR("b", big), CS_STR("c", big), CS_STR("d", big),
                CS_I64("last", 1));
    cs_log_free(log);
    free(big);
    const char *s = written();
    assert_true(strlen(s) <= 4096);
    struct cs_js v = parse_line(s);
    assert_int_equal(cs_js_get(v, "a").n, 1025); /* 1023 bytes and two quotes */
    assert_true(cs_js_has(cs_js_get(v, "c")));
    assert_false(cs_js_has(cs_js_get(v, "d")));
    assert_true(cs_js_has(cs_js_get(v, "last")));
    assert_true(cs_js_has(cs_js_get(v, "cut")));
}

static void test_repeats_are_counted_and_said(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    int64_t n = 0;
    assert_int_equal(cs_log_new("x", fd, CS_LOG_INFO, CS_LOG_JSON, &log), 0);
    for (int i = 0; i < 100; i++) {
        cs_log_warn(log, "graph.throttled", CS_I64("i", i));
        cs_log_info(log, "job.finished", CS_I64("i", i));
    }
    cs_log_warn(log, "another");
    const char *s = written();
    assert_int_equal(count_lines(s), CS_LOG_BURST + 100 + 1);
    cs_log_free(log);
    s = written();
    assert_int_equal(count_lines(s), CS_LOG_BURST + 100 + 2);
    const char *last = s + strlen(s) - 1;
    while (last > s && last[-1] != '\n')
        last--;
    struct cs_js v = parse_line(last);
    assert_true(cs_js_str_is(cs_js_get(v, "event"), "graph.throttled"));
    assert_int_equal(cs_js_i64(cs_js_get(v, "repeats"), &n), 0);
    assert_int_equal(n, 100 - CS_LOG_BURST);
}

static void test_lines_that_the_pipe_refuses_are_counted(void **state)
{
    (void)state;
    int p[2];
    struct cs_log *log = NULL;
    int64_t lost = 0;
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    assert_int_equal(cs_log_new("x", p[1], CS_LOG_INFO, CS_LOG_JSON, &log), 0);
    int sent = 0, got = 0;
    for (; sent < 2000; sent++)
        cs_log_info(log, "line", CS_I64("i", sent));
    static char drained[1 << 20];
    ssize_t n = read(p[0], drained, sizeof(drained) - 1);
    assert_true(n > 0);
    drained[n] = '\0';
    got = (int)count_lines(drained);
    assert_true(got < sent);
    assert_int_equal(drained[n - 1], '\n'); /* no torn line */
    cs_log_info(log, "after");
    n = read(p[0], drained, sizeof(drained) - 1);
    assert_true(n > 0);
    drained[n] = '\0';
    assert_int_equal(cs_js_i64(cs_js_get(parse_line(drained), "lost"), &lost), 0);
    assert_int_equal(lost, sent - got);
    cs_log_free(log);
    assert_int_equal(close(p[0]), 0);
    assert_int_equal(close(p[1]), 0);
}

static void *write_many(void *user)
{
    for (int i = 0; i < 500; i++)
        cs_log_info(user, "thread", CS_I64("i", i),
                    CS_STR("pad", "0123456789012345678901234567890123456789"));
    return NULL;
}

static void test_threads_do_not_mix_lines(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    pthread_t t[4];
    assert_int_equal(cs_log_new("x", fd, CS_LOG_INFO, CS_LOG_JSON, &log), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, write_many, log), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    cs_log_free(log);
    const char *s = written();
    assert_int_equal(count_lines(s), 2000);
    for (; *s != '\0'; s = strchr(s, '\n') + 1)
        (void)parse_line(s);
}

static void test_levels(void **state)
{
    (void)state;
    struct cs_log *log = NULL;
    enum cs_log_level level = CS_LOG_ERROR;
    assert_int_equal(cs_log_level_parse("warn", &level), 0);
    assert_int_equal(level, CS_LOG_WARN);
    assert_int_equal(cs_log_level_parse("WARN", &level), -EINVAL);
    assert_int_equal(cs_log_level_parse(NULL, &level), -EINVAL);
    assert_int_equal(cs_log_new("x", fd, CS_LOG_WARN, CS_LOG_JSON, &log), 0);
    assert_false(cs_log_is_on(log, CS_LOG_INFO));
    cs_log_set_level(log, CS_LOG_DEBUG);
    assert_true(cs_log_is_on(log, CS_LOG_DEBUG));
    assert_false(cs_log_is_on(NULL, CS_LOG_ERROR));
    cs_log_free(log);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_json_line),
        T(test_text_line_has_no_control_characters),
        T(test_long_lines_stay_whole),
        T(test_repeats_are_counted_and_said),
        T(test_lines_that_the_pipe_refuses_are_counted),
        T(test_threads_do_not_mix_lines),
        T(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
