/* Whichever allocation fails: the call says -ENOMEM (or shows a sticky failure), leaves nothing behind, and the next
 * one works. Leaks are the sanitizer build's to see. */
#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/json.h"
#include "common/json_write.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/secret.h"
#include "common/tenant.h"
#include "common/timers.h"
#include "tests/support/fail_alloc.h"

#define ALLOCATIONS_MAX 5000

/* Calls once with each allocation failing, until none is left to fail. The call returns 0 or -errno. */
static void for_every_allocation(int (*call)(void))
{
    unsigned n = 1;

    fail_alloc_at(0);
    assert_int_equal(call(), 0);
    for (;; n++) {
        assert_true(n < ALLOCATIONS_MAX);
        fail_alloc_at(n);
        int r = call();
        bool hit = fail_alloc_hit();
        fail_alloc_at(0);
        if (!hit) {
            assert_int_equal(r, 0);
            break;
        }
        if (r != -ENOMEM)
            fail_msg("allocation %u failed, and the call said %d", n, r);
    }
    assert_true(n > 1); /* there was something to fail */
    assert_int_equal(call(), 0);
}

static int fill_buffer(void)
{
    struct cs_buf b;
    cs_buf_init(&b, 0);
    for (int i = 0; i < 300; i++) {
        cs_buf_addf(&b, "%d,", i);
        cs_buf_adds(&b, "text");
    }
    cs_buf_addf(&b, "%5000d", 1);
    int r = cs_buf_failed(&b);
    char *s = cs_buf_steal(&b, NULL);
    if ((s == NULL) != (r != 0))
        r = -EIO;
    free(s);
    cs_buf_clear(&b);
    return r;
}

static int steal_empty(void)
{
    struct cs_buf b;
    cs_buf_init(&b, 0);
    char *s = cs_buf_steal(&b, NULL);
    int r = s != NULL ? 0 : -ENOMEM;
    free(s);
    return r;
}

static const char json[] =
    "{\"a\":[1,2.5,\"x\\u00e9\",{\"b\":null,\"c\":true}],\"long\":\"0123456789012345678901234567890"
    "123456789\\n\",\"pair\":\"\\ud837\\ude00\"}";

static int parse_json(void)
{
    struct cs_json *doc = NULL;
    const char *reason = NULL, *s = NULL;
    struct cs_buf b;
    int r = cs_json_parse(json, sizeof(json) - 1, &doc, &reason);
    if (r < 0)
        return doc == NULL ? r : -EIO;
    cs_buf_init(&b, 0);
    r = cs_json_print(cs_json_root(doc), &b);
    if (r == 0 && cs_json_str(cs_json_root(doc), "pair", 10, &s) != 0)
        r = -EIO;
    cs_buf_clear(&b);
    cs_json_free(doc);
    return r;
}

static int read_slices(void)
{
    struct cs_js v;
    struct cs_buf b;
    if (cs_js_check(json, sizeof(json) - 1, 10, &v, NULL) != 0)
        return -EIO;
    cs_buf_init(&b, 0);
    int r = cs_js_str(cs_js_get(v, "long"), &b);
    cs_buf_clear(&b);
    if (r < 0)
        return r;
    char *s = cs_js_strdup(cs_js_get(v, "long"), 100);
    r = s != NULL ? 0 : -ENOMEM;
    free(s);
    return r;
}

static int write_json(void)
{
    struct cs_buf b;
    struct cs_jw jw;
    cs_buf_init(&b, 0);
    cs_jw_init(&jw, &b);
    cs_jw_array(&jw);
    for (int i = 0; i < 100; i++) {
        cs_jw_object(&jw);
        cs_jw_kstr(&jw, "key", "va\"lue\xff");
        cs_jw_ki64(&jw, "n", i);
        cs_jw_object_end(&jw);
    }
    cs_jw_array_end(&jw);
    int r = cs_buf_failed(&b);
    if (r == 0 && cs_js_check(b.data, b.len, 3, NULL, NULL) != 0)
        r = -EIO;
    cs_buf_clear(&b);
    return r;
}

static char dir[64], cfg[128];

static int load_conf(void)
{
    struct cs_setting own[] = {{0}};
    struct cs_common_conf c;
    struct cs_tenant_set *tenants = NULL;
    struct cs_conf_error err = {""};
    struct cs_buf b;

    memset(&c, 0, sizeof(c));
    struct cs_setting *table = cs_conf_join(own, cs_common_settings, 0);
    if (table == NULL)
        return -ENOMEM;
    int r = cs_conf_load(cfg, table, &c, &tenants, &err);
    if (r < 0 && (err.text[0] == '\0' || tenants != NULL || c.kafka_bootstrap != NULL))
        r = -EIO; /* a failure has a text, and leaves nothing */
    cs_buf_init(&b, 0);
    if (r == 0) {
        cs_conf_print(table, &c, &b);
        r = cs_buf_failed(&b);
    }
    cs_buf_clear(&b);
    cs_conf_clear(table, &c);
    cs_tenants_unref(tenants);
    free(table);
    return r;
}

static int make_metrics(void)
{
    static const int64_t bounds[] = {1, 2};
    struct cs_metrics *m = NULL;
    struct cs_buf b;
    int r = cs_metrics_new(&m);
    if (r < 0)
        return r;
    /* a series that found no memory is not shown, but takes its updates */
    cs_metric_add(cs_metrics_counter(m, "a_total", "x=\"1\"", "A."), 1);
    cs_metric_add(cs_metrics_counter(m, "a_total", "x=\"2\"", "A."), 1);
    cs_metric_observe_milli(cs_metrics_histogram(m, "h", NULL, "H.", bounds, 2), 1);
    cs_buf_init(&b, 0);
    cs_metrics_print(m, &b);
    r = cs_buf_failed(&b);
    if (r == 0 && (b.len == 0 || strstr(b.data, "h_count 1\n") == NULL ||
                   strstr(b.data, "x=\"1\"") == NULL || strstr(b.data, "x=\"2\"") == NULL))
        r = -ENOMEM; /* what is missing is what failed */
    cs_buf_clear(&b);
    cs_metrics_free(m);
    return r;
}

static int make_log(void)
{
    struct cs_log *log = NULL;
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = cs_log_new("x", fd, CS_LOG_INFO, CS_LOG_JSON, &log);
    for (int i = 0; r == 0 && i < 30; i++)
        cs_log_error(log, "no.memory", CS_STR("s", "0123456789"), CS_I64("i", i)); /* takes none */
    cs_log_free(log);
    (void)close(fd); /* nothing is lost */
    return r;
}

static int make_timers(void)
{
    static struct cs_timer timers[200];
    struct cs_timers *t = NULL;
    memset(timers, 0, sizeof(timers));
    int r = cs_timers_new(&t);
    for (int i = 0; r == 0 && i < 200; i++)
        r = cs_timer_start(t, &timers[i], i);
    cs_timers_free(t);
    return r;
}

static int make_secret(void)
{
    struct cs_secret *s = NULL;
    int r = cs_secret_new("abc", 3, &s);
    cs_secret_free(s);
    return r;
}

static void test_buffer(void **state)
{
    (void)state;
    for_every_allocation(fill_buffer);
    for_every_allocation(steal_empty);
}

static void test_json(void **state)
{
    (void)state;
    for_every_allocation(parse_json);
    for_every_allocation(read_slices);
    for_every_allocation(write_json);
}

static void test_conf(void **state)
{
    (void)state;
    char path[192], command[128];
    FILE *f;
    strcpy(dir, "/tmp/crmsync-alloc-XXXXXX");
    assert_non_null(mkdtemp(dir));
    (void)snprintf(cfg, sizeof(cfg), "%s/c.cfg", dir);
    assert_non_null(f = fopen(cfg, "w"));
    assert_true(
        fputs("kafka: { bootstrap_servers = \"b:1\"; properties = [ \"a=b\", \"c=d\" ]; };\n", f) >=
        0);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(path, sizeof(path), "%s/tenants.d", dir);
    assert_int_equal(mkdir(path, 0700), 0);
    (void)snprintf(path, sizeof(path), "%s/tenants.d/boxes", dir);
    assert_non_null(f = fopen(path, "w"));
    for (int i = 0; i < 70; i++)
        assert_true(fprintf(f, "m%d@contoso.example\n", i) > 0);
    assert_int_equal(fclose(f), 0);
    (void)snprintf(path, sizeof(path), "%s/tenants.d/a.cfg", dir);
    assert_non_null(f = fopen(path, "w"));
    assert_true(
        fputs("name = \"a\"; tenant_id = \"contoso.example\"; client_id = "
              "\"22222222-2222-2222-2222-222222222222\"; credentials = ( { secret_env = \"X\"; },\n"
              "{ certificate_file = \"c\"; key_file = \"k\"; } ); mailboxes = [ "
              "\"Ann@contoso.example\" ];\n"
              "mailboxes_file = \"boxes\"; own_domains = [ \"contoso.example\" ];\n",
              f) >= 0);
    assert_int_equal(fclose(f), 0);
    for_every_allocation(load_conf);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0);
}

static void test_others(void **state)
{
    (void)state;
    for_every_allocation(make_metrics);
    for_every_allocation(make_log);
    for_every_allocation(make_timers);
    for_every_allocation(make_secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buffer),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_conf),
        cmocka_unit_test(test_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
