/* From a message of the jobs topic to a job, or to the reason why it is none. */
#include "worker/decode.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

#define P   6
#define NOW INT64_C(1767225600000) /* 2026-01-01T00:00:00Z */
#define ID  "01939d5e-7a10-7cc3-9a6b-0f6a1f1f2d42"
#define KEY "acme/ann@contoso.example"
#define FRONT           \
    "{\"job_id\":\"" ID \
    "\",\"type\":\"folders\",\"tenant\":\"acme\",\"mailbox\":\"ann@contoso.example\","
#define BACK                                                                                     \
    "\"lane\":\"live\",\"attempt\":2,\"reason\":\"cycle\",\"created_at\":\"2025-12-31T23:00:00." \
    "000Z\"}"

static struct cs_kafka_msg message(const char *key, const char *value)
{
    return (struct cs_kafka_msg){
        .topic = CS_TOPIC_JOBS,
        .partition = cs_key_partition("acme", "ann@contoso.example", P),
        .offset = 7,
        .key = key,
        .key_len = key != NULL ? strlen(key) : 0,
        .value = value,
        .value_len = value != NULL ? strlen(value) : 0,
    };
}

static int decode(const struct cs_kafka_msg *msg, struct cs_refusal *why)
{
    struct cs_job job;
    int r = cs_decode_job(msg, P, NOW, &job, why);

    if (r == 0)
        cs_job_clear(&job);
    return r;
}

static void test_a_job_is_read(void **state)
{
    struct cs_kafka_msg msg = message(KEY, FRONT BACK);
    struct cs_refusal why;
    struct cs_job job;

    (void)state;
    assert_int_equal(cs_decode_job(&msg, P, NOW, &job, &why), 0);
    assert_string_equal(job.job_id, ID);
    assert_int_equal(job.attempt, 2);
    cs_job_clear(&job);
}

static void test_what_is_no_job_says_why(void **state)
{
    static const struct {
        const char *key, *value, *reason;
        bool has_feedback;
    } cases[] = {
        {NULL, FRONT BACK, CS_DLQ_WRONG_KEY, false},
        {"", FRONT BACK, CS_DLQ_WRONG_KEY, false},
        {"acme", FRONT BACK, CS_DLQ_WRONG_KEY, false},
        {KEY "/mail:1", FRONT BACK, CS_DLQ_WRONG_KEY, false},
        {"ACME/ann@contoso.example", FRONT BACK, CS_DLQ_WRONG_KEY, false},
        {KEY, NULL, CS_DLQ_JOB_INVALID, false},
        {KEY, "", CS_DLQ_JOB_INVALID, false},
        {KEY, "{", CS_DLQ_JOB_INVALID, false},
        {KEY, "[]", CS_DLQ_JOB_INVALID, false},
        {KEY, "null", CS_DLQ_JOB_INVALID, false},
        {KEY, "{'job_id':1}", CS_DLQ_JOB_INVALID, false},
        /* whose it is can be read, so its producer is told */
        {KEY, FRONT "\"lane\":\"live\",\"attempt\":2}", CS_DLQ_JOB_INVALID, true},
        {KEY, FRONT "\"parts\":7," BACK, CS_DLQ_JOB_INVALID, true},
        /* it cannot: the lane or the attempt is wrong */
        {KEY, FRONT "\"lane\":\"fast\",\"attempt\":2}", CS_DLQ_JOB_INVALID, false},
        {KEY, FRONT "\"lane\":\"live\",\"attempt\":\"2\"}", CS_DLQ_JOB_INVALID, false},
        /* another mailbox's name in it is nobody to answer to */
        {KEY,
         "{\"job_id\":\"" ID
         "\",\"type\":\"folders\",\"tenant\":\"acme\",\"mailbox\":\"bob@contoso.example\","
         "\"lane\":\"live\",\"attempt\":2}",
         CS_DLQ_JOB_INVALID, false},
        {KEY,
         "{\"job_id\":\"" ID
         "\",\"type\":\"folders\",\"tenant\":\"acme\",\"mailbox\":\"bob@contoso.example\"," BACK,
         CS_DLQ_WRONG_KEY, false},
        {KEY,
         "{\"job_id\":\"nobody\",\"type\":\"folders\",\"tenant\":\"acme\",\"mailbox\":\"ann@"
         "contoso.example\","
         "\"lane\":\"live\",\"attempt\":2}",
         CS_DLQ_JOB_INVALID, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cs_kafka_msg msg = message(cases[i].key, cases[i].value);
        struct cs_refusal why;

        assert_int_equal(decode(&msg, &why), -EINVAL);
        assert_string_equal(why.reason, cases[i].reason);
        assert_int_equal(why.has_feedback, cases[i].has_feedback);
        if (why.has_feedback) {
            assert_string_equal(why.feedback.job_id, ID);
            assert_int_equal(why.feedback.outcome, CS_REJECT);
            assert_int_equal(why.feedback.fault.code, CS_CODE_JOB_INVALID);
            assert_int_equal(why.feedback.attempt, 2);
        }
    }
}

static void test_another_partition_is_refused_whatever_it_holds(void **state)
{
    struct cs_kafka_msg msg = message(KEY, FRONT BACK);
    struct cs_refusal why;

    (void)state;
    msg.partition = (msg.partition + 1) % P;
    assert_int_equal(decode(&msg, &why), -EINVAL);
    assert_string_equal(why.reason, CS_DLQ_WRONG_PARTITION);
    assert_false(why.has_feedback);
    msg.value = "{";
    msg.value_len = 1;
    assert_int_equal(decode(&msg, &why), -EINVAL);
    assert_string_equal(why.reason, CS_DLQ_WRONG_PARTITION);
}

/* Clocks may differ by a minute. */
static void test_a_late_job_is_told_of_and_not_buried(void **state)
{
    static const struct {
        const char *not_after;
        int want;
    } cases[] = {
        {"2026-01-01T00:00:00.000Z", 0},
        {"2025-12-31T23:59:00.000Z", 0},
        {"2025-12-31T23:58:59.999Z", -ETIME},
        {"2020-01-01T00:00:00.000Z", -ETIME},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char value[1024];
        struct cs_kafka_msg msg;
        struct cs_refusal why;

        snprintf(value, sizeof(value), "%s\"not_after\":\"%s\",%s", FRONT, cases[i].not_after,
                 BACK);
        msg = message(KEY, value);
        assert_int_equal(decode(&msg, &why), cases[i].want);
        if (cases[i].want < 0) {
            assert_null(why.reason);
            assert_true(why.has_feedback);
            assert_int_equal(why.feedback.fault.code, CS_CODE_EXPIRED);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_is_read),
        cmocka_unit_test(test_what_is_no_job_says_why),
        cmocka_unit_test(test_another_partition_is_refused_whatever_it_holds),
        cmocka_unit_test(test_a_late_job_is_told_of_and_not_buried),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
