#include "cmocka_all.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/conf.h"
#include "common/conf_file.h"
#include "common/tenant.h"

struct settings {
    struct cs_common_conf common;
    int64_t count, wait_ms, bytes;
    bool on;
    char *name;
    char *password;
    char *optional;
    int colour;
    struct cs_conf_map more;
};
#define AT(f) offsetof(struct settings, f)
static const char *const colours[] = {"red", "green", NULL};
static const struct cs_setting own[] = {
    {"work.count", CS_CONF_INT, AT(count), "5", 1, 100, CS_CONF_RELOAD, "How many.", NULL},
    {"work.deep.wait_ms", CS_CONF_MS, AT(wait_ms), "60000", 1000, 600000, 0, "How long.", NULL},
    {"name", CS_CONF_STR, AT(name), "x", 1, 10, 0, "A name.", NULL},
    {"work.bytes", CS_CONF_BYTES, AT(bytes), "3000000000", 0, INT64_C(1) << 40, 0, "How much.",
     NULL},
    {"work.on", CS_CONF_BOOL, AT(on), "true", 0, 0, 0, "On or off.", NULL},
    {"work.password", CS_CONF_STR, AT(password), "", 1, 100, CS_CONF_SECRET, "Secret.", NULL},
    {"work.optional", CS_CONF_STR, AT(optional), "", 1, 100, 0, "Nothing needed.", NULL},
    {"work.colour", CS_CONF_ENUM, AT(colour), "green", 0, 0, 0, "Which.", colours},
    {"work.theirs", CS_CONF_OTHER, 0, NULL, 0, 0, 0, NULL, NULL},
    {"their", CS_CONF_OTHER, 0, NULL, 0, 0, 0, NULL, NULL},
    {"work.more", CS_CONF_MAP, AT(more), "", 0, 0, 0, "Free keys.", NULL},
    {0},
};
static struct cs_setting *table;
static char dir[64];
static struct settings s;
static struct cs_conf_error err;

static const char *path_of(const char *name)
{
    static char path[4][512];
    static int i;
    i = (i + 1) % 4;
    assert_true(snprintf(path[i], sizeof(path[i]), "%s/%s", dir, name) > 0);
    return path[i];
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/crmsync-conf-XXXXXX");
    if (mkdtemp(dir) == NULL || mkdir(path_of("tenants.d"), 0700) != 0)
        return -1;
    table = cs_conf_join(own, cs_common_settings, AT(common));
    memset(&s, 0, sizeof(s));
    return table == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    cs_conf_clear(table, &s);
    free(table);
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static int load(const char *text)
{
    put("c.cfg", text);
    cs_conf_clear(table, &s);
    memset(&s, 0, sizeof(s));
    return cs_conf_load(path_of("c.cfg"), table, &s, NULL, &err);
}

#define KAFKA "kafka: { bootstrap_servers = \"b:1\"; };\n"

static void check_refused(const char *text, const char *want)
{
    char full[700];
    if (load(text) != -EINVAL)
        fail_msg("accepted: %s", text);
    (void)snprintf(full, sizeof(full), "%s/c.cfg%s", dir, want);
    if (strncmp(err.text, full, strlen(full)) != 0)
        fail_msg("%s\n  gave     %s\n  and not  %s", text, err.text, full);
    assert_null(s.name); /* cleared */
}

static void test_defaults_and_values(void **state)
{
    (void)state;
    assert_int_equal(load(KAFKA), 0);
    assert_int_equal(s.count, 5);
    assert_int_equal(s.wait_ms, 60000);
    assert_true(s.bytes == INT64_C(3000000000));
    assert_true(s.on);
    assert_string_equal(s.name, "x");
    assert_string_equal(s.optional, "");
    assert_int_equal(s.colour, 1);
    assert_int_equal(s.more.n, 0);
    assert_string_equal(s.common.kafka_bootstrap, "b:1");
    assert_string_equal(s.common.kafka_prefix, "crmsync.");
    assert_int_equal(s.common.kafka_delivery, CS_EXACTLY_ONCE);

    assert_int_equal(
        load("# a comment\nkafka = { bootstrap_servers = \"b:1\"; delivery = \"at_least_once\" }\n"
             "work: { count = 7; deep: { wait_ms = 1000L; } bytes = 5000000000L; on = false;\n"
             "  colour = \"red\"; /* more */ password = \"p\\\"w\"; }; // end\nname = "
             "\"j\xC3\xB6\";"),
        0);
    assert_int_equal(s.count, 7);
    assert_int_equal(s.wait_ms, 1000);
    assert_true(s.bytes == INT64_C(5000000000));
    assert_false(s.on);
    assert_int_equal(s.colour, 0);
    assert_string_equal(s.password, "p\"w");
    assert_string_equal(s.name, "j\xC3\xB6");
    assert_int_equal(s.common.kafka_delivery, CS_AT_LEAST_ONCE);
    assert_int_equal(load("\xEF\xBB\xBF" KAFKA), 0);
    /* keys of the other program, which reads the same file */
    assert_int_equal(
        load(KAFKA "their: { anything: { at = 1; }; }; work: { theirs = \"x\"; count = 3; };"), 0);
    assert_int_equal(s.count, 3);
}

static void test_refuses_with_file_line_and_key(void **state)
{
    (void)state;
    check_refused(KAFKA "\nwork: { countt = 1; };", ":3: work.countt: unknown key");
    check_refused(KAFKA "wrok: { count = 1; };", ":2: wrok: unknown key");
    check_refused(KAFKA "name: { a = 1; };", ":2: name: must be a text");
    check_refused(KAFKA "work = 5;", ":2: work: must be a group");
    check_refused(KAFKA "work: { count = \"5\"; };", ":2: work.count: must be a whole number");
    check_refused(KAFKA "work: { count = 5.5; };", ":2: work.count: must be a whole number");
    check_refused(KAFKA "work: { count = 0; };", ":2: work.count: must be from 1 to 100");
    check_refused(KAFKA "work: { count = 101; };", ":2: work.count: must be from 1 to 100");
    check_refused(KAFKA "work:\n{ on = 1; };", ":3: work.on: must be true or false");
    check_refused(KAFKA "work: { colour = \"blue\"; };",
                  ":2: work.colour: must be one of red, green");
    check_refused(KAFKA "name = \"\";", ":2: name: must not be empty");
    check_refused(KAFKA "name = \"12345678901\";", ":2: name: must have from 1 to 10 bytes");
    check_refused(KAFKA "name = \"a\\nb\";", ":2: name: has a control character");
    check_refused(KAFKA "name = 5;", ":2: name: must be a text");
    check_refused("name = \"x\";", ": kafka.bootstrap_servers: required");
    check_refused(KAFKA "name = \"a\"; name = \"b\";", ":2: duplicate setting name");
    check_refused(KAFKA "name = ", ":2: syntax error");
    check_refused(KAFKA KAFKA, ":2: duplicate setting name");
    assert_int_equal(cs_conf_load("/nonexistent.cfg", table, &s, NULL, &err), -ENOENT);
    assert_string_equal(err.text, "/nonexistent.cfg: No such file or directory");
    assert_int_equal(cs_conf_load(dir, table, &s, NULL, &err), -EISDIR);
}

/* libconfig would wrap these, cut them, or read another file, and say nothing. */
static void test_refuses_what_libconfig_would_change(void **state)
{
    (void)state;
    check_refused(KAFKA "work: { bytes = 99999999999; };",
                  ":2: work.bytes: integer does not fit 32 bits");
    check_refused(KAFKA "work: { bytes = 2147483648; };",
                  ":2: work.bytes: integer does not fit 32 bits");
    check_refused(KAFKA "work: { bytes = -2147483649; };",
                  ":2: work.bytes: integer does not fit 32 bits");
    check_refused(KAFKA "work: { bytes = 0xFFFFFFFF; };",
                  ":2: work.bytes: integer does not fit 32 bits");
    check_refused(KAFKA "work: { deep: {\n bytes = [ 1, 99999999999 ]; }; };",
                  ":3: work.deep.bytes: integer does");
    check_refused(KAFKA "a = 9223372036854775808L;", ":2: a: integer does not fit 64 bits");
    check_refused(KAFKA "a = 99999999999999999999999L;", ":2: a: integer does not fit 64 bits");
    check_refused(KAFKA "name = \"a\\x00b\";", ":2: name: \\x00 in a text");
    check_refused(KAFKA "@include \"other.cfg\"\n", ":2: @include is not supported");
    check_refused(KAFKA "name = \"a\"; /* no end\n\n", ":2: comment without its end");
    check_refused(KAFKA "name = \"a\n\";", ":2: name: text goes over the end of the line");
    check_refused(KAFKA "name = \"a", ":2: name: text without its closing quote");
    check_refused(KAFKA "name = \xff;", ":2: name: bad UTF-8");
    /* and takes what only looks like it */
    assert_int_equal(
        load(
            KAFKA
            "# 99999999999 @include \"x\"\nname = \"9999999999\"; // 99999999999\n/* 99999999999 */"
            "work: { bytes = 2147483647; count = 0x10; };"),
        0);
    assert_int_equal(s.bytes, INT32_MAX);
    assert_int_equal(s.count, 16);

    struct cs_conf_scan_error scan;
    assert_int_equal(cs_conf_scan("a\0b", 3, &scan), -EINVAL);
    assert_int_equal(cs_conf_scan("", 0, &scan), 0);
    assert_int_equal(cs_conf_scan("((((((((((((((((((((", 20, &scan), -EINVAL);
    assert_int_equal(cs_conf_scan("))))", 4, &scan), 0);
}

static void test_environment_is_stronger(void **state)
{
    (void)state;
    put("pw", "from-a-file\n");
    assert_int_equal(setenv("CRMSYNC_WORK_COUNT", "9", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_ON", "false", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_COLOUR", "red", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_PASSWORD", "from-env", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_PASSWORD_FILE", path_of("pw"), 1), 0);
    assert_int_equal(setenv("CRMSYNC_KAFKA_BOOTSTRAP_SERVERS", "e:1", 1), 0);
    assert_int_equal(setenv("CRMSYNC_GRAPH_CA_FILE", "/ca.pem", 1), 0);
    assert_int_equal(load("work: { count = 7; };"), 0);
    assert_int_equal(s.count, 9);
    assert_false(s.on);
    assert_int_equal(s.colour, 0);
    assert_string_equal(s.password, "from-a-file");
    assert_string_equal(s.common.kafka_bootstrap, "e:1");
    assert_string_equal(s.common.graph_ca_file, "/ca.pem");

    assert_int_equal(setenv("CRMSYNC_WORK_PASSWORD_FILE", path_of("nothing"), 1), 0);
    assert_int_equal(load(""), -ENOENT);
    assert_string_equal(err.text,
                        "CRMSYNC_WORK_PASSWORD_FILE: the file: No such file or directory");
    assert_int_equal(unsetenv("CRMSYNC_WORK_PASSWORD_FILE"), 0);
    static const char *const bad[] = {"", "x", "1x", " 1", "101", "99999999999999999999", "1.5"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(setenv("CRMSYNC_WORK_COUNT", bad[i], 1), 0);
        assert_int_equal(load(""), -EINVAL);
        assert_non_null(strstr(err.text, "CRMSYNC_WORK_COUNT: must be"));
    }
    assert_int_equal(unsetenv("CRMSYNC_WORK_COUNT"), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_ON", "yes", 1), 0);
    assert_int_equal(load(""), -EINVAL);
    static const char *const names[] = {"ON", "COLOUR", "PASSWORD"};
    char name[64];
    for (size_t i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof(name), "CRMSYNC_WORK_%s", names[i]);
        assert_int_equal(unsetenv(name), 0);
    }
    assert_int_equal(unsetenv("CRMSYNC_KAFKA_BOOTSTRAP_SERVERS"), 0);
    assert_int_equal(unsetenv("CRMSYNC_GRAPH_CA_FILE"), 0);
}

static void test_maps(void **state)
{
    (void)state;
    assert_int_equal(load(KAFKA "work: { more = [ \"ssl.ca.location=/x=y\", \"a=\" ]; };"), 0);
    assert_int_equal(s.more.n, 2);
    assert_string_equal(cs_conf_map_get(&s.more, "ssl.ca.location"), "/x=y");
    assert_string_equal(cs_conf_map_get(&s.more, "a"), "");
    assert_null(cs_conf_map_get(&s.more, "b"));

    assert_int_equal(
        load(
            KAFKA
            "work: { more: { ssl: { ca: { location = \"/x\"; }; key_ = \"k\"; key: { p = 5; }; };\n"
            "  socket: { nagle: { disable = true; }; }; }; };"),
        0);
    assert_int_equal(s.more.n, 4);
    assert_string_equal(cs_conf_map_get(&s.more, "ssl.ca.location"), "/x");
    assert_string_equal(cs_conf_map_get(&s.more, "ssl.key"), "k");
    assert_string_equal(cs_conf_map_get(&s.more, "ssl.key.p"), "5");
    assert_string_equal(cs_conf_map_get(&s.more, "socket.nagle.disable"), "true");

    check_refused(KAFKA "work: { more = [ \"a=1\",\n \"a=2\" ]; };",
                  ":3: work.more: a comes twice");
    check_refused(KAFKA "work: { more = [ \"a\" ]; };", ":2: work.more: must be a list");
    check_refused(KAFKA "work: { more = [ \"=a\" ]; };", ":2: work.more: not a property's name");
    check_refused(KAFKA "work: { more = \"a=1\"; };", ":2: work.more: must be a list");
    check_refused(KAFKA "work: { more: { a = 1.5; }; };", ":2: work.more: a: must be a text");
    check_refused(KAFKA "work: { more: { a: { b = \"1\"; }; a_: { b = \"2\"; }; }; };",
                  ":2: work.more: a.b comes twice");

    put("pw", "secret\n");
    assert_int_equal(setenv("CRMSYNC_WORK_MORE_SSL_CA_LOCATION", "/env", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_MORE_SASL_PASSWORD_FILE", path_of("pw"), 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_MORE_SASL_PASSWORD", "weaker", 1), 0);
    assert_int_equal(setenv("CRMSYNC_WORK_MORE_A__B", "u", 1), 0);
    assert_int_equal(load(KAFKA "work: { more = [ \"ssl.ca.location=/x\" ]; };"), 0);
    assert_int_equal(s.more.n, 3);
    assert_string_equal(cs_conf_map_get(&s.more, "ssl.ca.location"), "/env");
    assert_string_equal(cs_conf_map_get(&s.more, "sasl.password"), "secret");
    assert_string_equal(cs_conf_map_get(&s.more, "a_b"), "u");
    assert_int_equal(unsetenv("CRMSYNC_WORK_MORE_SSL_CA_LOCATION"), 0);
    assert_int_equal(unsetenv("CRMSYNC_WORK_MORE_SASL_PASSWORD_FILE"), 0);
    assert_int_equal(unsetenv("CRMSYNC_WORK_MORE_SASL_PASSWORD"), 0);
    assert_int_equal(unsetenv("CRMSYNC_WORK_MORE_A__B"), 0);
}

/* What is printed loads again and means the same, but for secrets, which it does not show. */
static void test_print_loads_again(void **state)
{
    (void)state;
    struct cs_buf first, second;
    cs_buf_init(&first, 0);
    cs_buf_init(&second, 0);
    assert_int_equal(
        load("kafka: { bootstrap_servers = \"a\\\"b\\\\c:1\"; delivery = \"at_least_once\";\n"
             "  properties = [ \"ssl.ca.location=/a \\\"b\", \"sasl.password=hunter2\" ]; };\n"
             "work: { count = 8; bytes = 9000000000L; password = \"hunter3\"; on = false; };"),
        0);
    cs_conf_print(table, &s, &first);
    assert_int_equal(cs_buf_failed(&first), 0);
    assert_null(strstr(first.data, "hunter"));
    assert_non_null(strstr(first.data, "sasl.password=***"));
    assert_non_null(strstr(first.data, "password = \"***\""));
    if (load(first.data) != 0)
        fail_msg("%s\n%s", err.text, first.data);
    assert_string_equal(s.common.kafka_bootstrap, "a\"b\\c:1");
    assert_string_equal(cs_conf_map_get(&s.common.kafka_properties, "ssl.ca.location"), "/a \"b");
    assert_int_equal(s.count, 8);
    assert_true(s.bytes == INT64_C(9000000000));
    cs_conf_print(table, &s, &second);
    assert_string_equal(first.data, second.data);
    cs_buf_clear(&first);
    cs_buf_clear(&second);
}

static void test_sample_means_the_defaults(void **state)
{
    (void)state;
    struct cs_buf sample, from_sample, from_nothing;
    cs_buf_init(&sample, 0);
    cs_buf_init(&from_sample, 0);
    cs_buf_init(&from_nothing, 0);
    cs_conf_sample(table, &sample);
    if (load(sample.data) != 0)
        fail_msg("%s\n%s", err.text, sample.data);
    cs_conf_print(table, &s, &from_sample);
    assert_int_equal(cs_common_conf_check(&s.common, &err), 0);
    assert_int_equal(load("kafka: { bootstrap_servers = \"localhost:9092\"; };"), 0);
    cs_conf_print(table, &s, &from_nothing);
    assert_string_equal(from_sample.data, from_nothing.data);
    for (size_t i = 0; table[i].key != NULL; i++)
        if (table[i].type != CS_CONF_OTHER)
            assert_non_null(strstr(sample.data, table[i].help));
    assert_null(strstr(sample.data, "theirs"));
    assert_null(strstr(sample.data, "their:"));
    cs_buf_clear(&sample);
    cs_buf_clear(&from_sample);
    cs_buf_clear(&from_nothing);
}

static void test_common_checks(void **state)
{
    (void)state;
    static const char *const good[] = {"https://graph.microsoft.com",
                                       "https://graph.microsoft.us:8443",
                                       "http://127.0.0.1:80",
                                       "http://localhost",
                                       "http://[::1]:5",
                                       "http://127.1.2.3"};
    static const char *const bad[] = {"",
                                      "graph",
                                      "ftp://x",
                                      "http://graph.microsoft.com",
                                      "https://",
                                      "https://x/",
                                      "https://x/v1.0",
                                      "https://x?a",
                                      "https://x#a",
                                      "https://u@x",
                                      "https://x:",
                                      "https://x:port",
                                      "https://x:123456",
                                      "http://127.0.0.1.evil.example",
                                      "http://localhost.evil.example",
                                      "http://127.0.0.1@evil.example",
                                      "http://[::2]",
                                      "http://[::1",
                                      "http://0.0.0.0",
                                      "http://127.0.0.1\\@evil.example",
                                      "https://x y",
                                      "HTTPS://x",
                                      "http://[::1]x"};
    assert_int_equal(load(KAFKA), 0);
    struct cs_common_conf c = s.common;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char *copy = strdup(good[i]);
        c.graph_base_url = copy;
        if (cs_common_conf_check(&c, &err) != 0)
            fail_msg("%s: %s", good[i], err.text);
        assert_int_equal(cs_url_is_loopback(copy), strncmp(copy, "http:", 5) == 0);
        free(copy);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *copy = strdup(bad[i]);
        c.graph_base_url = s.common.graph_base_url;
        c.graph_login_url = copy;
        if (cs_common_conf_check(&c, &err) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_non_null(strstr(err.text, "graph.login_url: "));
        assert_false(cs_url_is_loopback(copy));
        free(copy);
    }
    c = s.common;
    char odd[] = "a/b";
    c.kafka_prefix = odd;
    assert_int_equal(cs_common_conf_check(&c, &err), -EINVAL);
    c = s.common;
    c.instance_id = odd;
    assert_int_equal(cs_common_conf_check(&c, &err), -EINVAL);
    assert_true(cs_url_is_loopback("http://127.0.0.1:8080/v1.0/users"));
    assert_true(cs_url_is_loopback("https://localhost"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(test_defaults_and_values),
        T(test_refuses_with_file_line_and_key),
        T(test_refuses_what_libconfig_would_change),
        T(test_environment_is_stronger),
        T(test_maps),
        T(test_print_loads_again),
        T(test_sample_means_the_defaults),
        T(test_common_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
