#include "cmocka_all.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "common/metrics.h"

static void test_prints_prometheus_text(void **state)
{
    (void)state;
    struct cs_metrics *m = NULL;
    struct cs_buf b, labels;
    static const int64_t bounds[] = {5, 250, 1000, 2500};
    cs_buf_init(&b, 0);
    cs_buf_init(&labels, 0);
    assert_int_equal(cs_metrics_new(&m), 0);
    cs_metrics_print(m, &b);
    assert_int_equal(b.len, 0);

    struct cs_metric *done =
        cs_metrics_counter(m, "crmsync_jobs_total", "outcome=\"done\"", "Jobs\\by\noutcome.");
    struct cs_metric *retry =
        cs_metrics_counter(m, "crmsync_jobs_total", "outcome=\"retry\"", "Jobs.");
    struct cs_metric *gauge = cs_metrics_gauge(m, "crmsync_in_flight", NULL, "In flight.");
    cs_metrics_label(&labels, "a", "q\"\\\n");
    cs_metrics_label(&labels, "b", "x");
    struct cs_metric *h =
        cs_metrics_histogram(m, "crmsync_wait_seconds", labels.data, "Waits.", bounds, 4);
    struct cs_metric *h0 = cs_metrics_histogram(m, "crmsync_x_seconds", "", "X.", bounds, 1);
    assert_ptr_equal(cs_metrics_counter(m, "crmsync_jobs_total", "outcome=\"done\"", "x"), done);
    cs_metric_add(done, 2);
    cs_metric_add(done, 1);
    cs_metric_add(retry, 7);
    cs_metric_set(gauge, -4);
    cs_metric_observe_milli(h, 5); /* a bound belongs to its bucket */
    cs_metric_observe_milli(h, 6);
    cs_metric_observe_milli(h, 1000);
    cs_metric_observe_milli(h, 60010);
    cs_metric_observe_milli(h0, -1500);
    assert_int_equal(cs_metric_value(done), 3);
    cs_metrics_print(m, &b);
    assert_string_equal(b.data,
                        "# HELP crmsync_in_flight In flight.\n"
                        "# TYPE crmsync_in_flight gauge\n"
                        "crmsync_in_flight -4\n"
                        "# HELP crmsync_jobs_total Jobs\\\\by\\noutcome.\n"
                        "# TYPE crmsync_jobs_total counter\n"
                        "crmsync_jobs_total{outcome=\"done\"} 3\n"
                        "crmsync_jobs_total{outcome=\"retry\"} 7\n"
                        "# HELP crmsync_wait_seconds Waits.\n"
                        "# TYPE crmsync_wait_seconds histogram\n"
                        "crmsync_wait_seconds_bucket{a=\"q\\\"\\\\\\n\",b=\"x\",le=\"0.005\"} 1\n"
                        "crmsync_wait_seconds_bucket{a=\"q\\\"\\\\\\n\",b=\"x\",le=\"0.25\"} 2\n"
                        "crmsync_wait_seconds_bucket{a=\"q\\\"\\\\\\n\",b=\"x\",le=\"1\"} 3\n"
                        "crmsync_wait_seconds_bucket{a=\"q\\\"\\\\\\n\",b=\"x\",le=\"2.5\"} 3\n"
                        "crmsync_wait_seconds_bucket{a=\"q\\\"\\\\\\n\",b=\"x\",le=\"+Inf\"} 4\n"
                        "crmsync_wait_seconds_sum{a=\"q\\\"\\\\\\n\",b=\"x\"} 61.021\n"
                        "crmsync_wait_seconds_count{a=\"q\\\"\\\\\\n\",b=\"x\"} 4\n"
                        "# HELP crmsync_x_seconds X.\n"
                        "# TYPE crmsync_x_seconds histogram\n"
                        "crmsync_x_seconds_bucket{le=\"0.005\"} 1\n"
                        "crmsync_x_seconds_bucket{le=\"+Inf\"} 1\n"
                        "crmsync_x_seconds_sum -1.5\n"
                        "crmsync_x_seconds_count 1\n");
    cs_buf_clear(&b);
    cs_buf_clear(&labels);
    cs_metrics_free(m);
    cs_metrics_free(NULL);
}

/* A name has one type; what contradicts it counts for nobody, and what is there stays. */
static void test_contradictions_are_not_shown(void **state)
{
    (void)state;
    struct cs_metrics *m = NULL;
    struct cs_buf b;
    static const int64_t bounds[] = {1, 2};
    cs_buf_init(&b, 0);
    assert_int_equal(cs_metrics_new(&m), 0);
    cs_metric_add(cs_metrics_counter(m, "a_total", "l=\"2\"", "A."), 1);
    cs_metric_add(cs_metrics_gauge(m, "a_total", "l=\"2\"", "A."), 1);
    cs_metric_add(cs_metrics_gauge(m, "a_total", "l=\"1\"", "A."), 1);
    cs_metric_add(cs_metrics_gauge(m, "a_total", "l=\"3\"", "A."), 1);
    cs_metric_observe_milli(cs_metrics_histogram(m, "h", "", "H.", bounds, 2), 1);
    cs_metric_observe_milli(cs_metrics_histogram(m, "h", "", "H.", bounds, 1), 1);
    cs_metrics_print(m, &b);
    assert_non_null(strstr(b.data, "a_total{l=\"2\"} 1\n"));
    assert_null(strstr(b.data, "gauge"));
    assert_null(strstr(b.data, "l=\"1\""));
    assert_null(strstr(b.data, "l=\"3\""));
    assert_non_null(strstr(b.data, "h_count 1\n"));
    cs_buf_clear(&b);
    cs_metrics_free(m);
}

static void test_series_are_bounded(void **state)
{
    (void)state;
    struct cs_metrics *m = NULL;
    struct cs_buf b;
    char labels[32];
    size_t lines = 0;
    cs_buf_init(&b, 0);
    assert_int_equal(cs_metrics_new(&m), 0);
    for (int i = 0; i < 6000; i++) {
        (void)snprintf(labels, sizeof(labels), "i=\"%d\"", i);
        cs_metric_add(cs_metrics_counter(m, "many_total", labels, "Many."), 1);
    }
    cs_metrics_print(m, &b);
    for (const char *p = b.data; (p = strchr(p, '\n')) != NULL; p++)
        lines++;
    assert_int_equal(lines, 5000 + 2);
    cs_buf_clear(&b);
    cs_metrics_free(m);
}

static void *count_up(void *user)
{
    for (int i = 0; i < 100000; i++)
        cs_metric_add(user, 1);
    return NULL;
}

static void test_threads_lose_nothing(void **state)
{
    (void)state;
    struct cs_metrics *m = NULL;
    struct cs_buf b;
    pthread_t t[3];
    cs_buf_init(&b, 0);
    assert_int_equal(cs_metrics_new(&m), 0);
    struct cs_metric *x = cs_metrics_counter(m, "x_total", "", "X.");
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count_up, x), 0);
    for (int i = 0; i < 50; i++) {
        cs_buf_reset(&b);
        cs_metrics_print(m, &b);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_join(t[i], NULL), 0);
    assert_int_equal(cs_metric_value(x), 300000);
    cs_buf_clear(&b);
    cs_metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prints_prometheus_text),
        cmocka_unit_test(test_contradictions_are_not_shown),
        cmocka_unit_test(test_series_are_bounded),
        cmocka_unit_test(test_threads_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
