/* Every way in which a broker can refuse a step of a transaction: what the call answers, and that the next one works.
 * Against librdkafka's mock cluster, which answers as told; what a real broker makes of it is another test's affair. */
#include "common/kafka_out.h"

#include "tests/unit/cmocka_all.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_in.h"
#include "tests/support/mock_kafka.h"

#ifdef __SANITIZE_ADDRESS__
/* librdkafka 2.0.2 forgets the request of rd_kafka_send_offsets_to_transaction(), or its look for the coordinator, where
 * a refused produce turns the handle fatal in the same moment: some 300 bytes, once in the life of a handle that is
 * replaced for it. The first is allocated below that call, the second in a thread of the library; nothing of ours is
 * allocated in either place here. The library has no frame pointers, so the suppressions need whole stacks. */
const char *__asan_default_options(void);
const char *__lsan_default_suppressions(void);

const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}

const char *__lsan_default_suppressions(void)
{
    return "leak:^rd_kafka_send_offsets_to_transaction$\nleak:^start_thread$\n";
}
#endif

#define PARTITIONS 4

static struct mock_kafka mock;
static struct cs_kafka_in *member;
static struct cs_kafka_group *group;

/* A member of a group, whose metadata all transactions of the test carry. */
static int set_up(void **state)
{
    static const enum cs_topic topics[] = {CS_TOPIC_JOBS};
    int64_t until_ms = cs_clock_mono_ms() + 30000;
    struct cs_kafka_offset offsets[PARTITIONS] = {{0}};
    struct cs_conf_error err;
    struct cs_kafka_msg msg;
    bool lost;

    (void)state;
    mock_kafka_open(&mock, 3, PARTITIONS);
    mock_kafka_property(&mock, "session.timeout.ms", "6000");
    mock_kafka_property(&mock, "fetch.wait.max.ms", "10");
    if (cs_kafka_in_new(&mock.conf, "g", topics, 1, NULL, &member, &err) < 0 ||
        cs_kafka_in_subscribe(member) < 0)
        return -1;
    while (cs_kafka_in_next(member, false, 200, &msg, &lost) != CS_KAFKA_EV_ASSIGN)
        if (cs_clock_mono_ms() > until_ms)
            return -1;
    for (int i = 0; i < PARTITIONS; i++)
        offsets[i] = (struct cs_kafka_offset){CS_TOPIC_JOBS, i, -1, NULL};
    group = cs_kafka_in_group(member);
    return group != NULL && cs_kafka_in_assign(member, offsets, PARTITIONS) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    cs_kafka_group_free(group);
    cs_kafka_in_free(member);
    mock_kafka_close(&mock);
    return 0;
}

static struct cs_kafka_out *open_out(const char *id)
{
    struct cs_kafka_out *out = NULL;
    struct cs_conf_error err;

    assert_int_equal(cs_kafka_out_new(&mock.conf, id, NULL, &out, &err), 0);
    assert_int_equal(cs_kafka_out_init(out, 15000), CS_KAFKA_OK);
    return out;
}

static enum cs_kafka_result produce(struct cs_kafka_out *out, size_t n)
{
    const struct cs_kafka_header headers[] = {{"ce_specversion", "1.0"}};
    enum cs_kafka_result r = CS_KAFKA_OK;

    for (size_t i = 0; i < n && r == CS_KAFKA_OK; i++) {
        char *value = strdup("value");

        assert_non_null(value);
        r = cs_kafka_out_produce(out, CS_TOPIC_RECORDS, 1, "key", 3, value, 5, headers, 1);
        if (r != CS_KAFKA_OK)
            free(value); /* still ours */
    }
    return r;
}

/* One transaction; *at says which step answered. */
static enum cs_kafka_result transact(struct cs_kafka_out *out, const char **at)
{
    char map[] = "1;2,3";
    const struct cs_kafka_offset offset = {CS_TOPIC_JOBS, 1, 5, map};
    enum cs_kafka_result r;

    *at = "begin";
    r = cs_kafka_out_begin(out);
    if (r == CS_KAFKA_OK) {
        *at = "produce";
        r = produce(out, 3);
    }
    if (r == CS_KAFKA_OK) {
        *at = "offsets";
        r = cs_kafka_out_offsets(out, group, &offset, 1, 10000);
    }
    if (r == CS_KAFKA_OK) {
        *at = "commit";
        r = cs_kafka_out_commit(out, 15000);
    }
    return r;
}

struct row {
    const char *name;
    int16_t request;
    rd_kafka_resp_err_t err;
    int n;
    enum cs_kafka_result want;
};

static const struct row rows[] = {
    /* passing troubles: the call takes longer, no more */
    {"partitions: an earlier transaction is still ending", MOCK_ADD_PARTITIONS,
     RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 3, CS_KAFKA_OK},
    {"produce: too few replicas", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 3,
     CS_KAFKA_OK},
    {"produce: cut off", MOCK_PRODUCE, RD_KAFKA_RESP_ERR__TRANSPORT, 1, CS_KAFKA_OK},
    {"offsets: coordinator has moved", MOCK_ADD_OFFSETS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, 2,
     CS_KAFKA_OK},
    {"offsets: coordinator loads", MOCK_TXN_OFFSET_COMMIT,
     RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, 3, CS_KAFKA_OK},
    {"commit: coordinator not there", MOCK_END_TXN, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, 2,
     CS_KAFKA_OK},
    {"commit: cut off", MOCK_END_TXN, RD_KAFKA_RESP_ERR__TRANSPORT, 1, CS_KAFKA_OK},
    {"commit: an earlier transaction is still ending", MOCK_END_TXN,
     RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, 2, CS_KAFKA_OK},
    /* not committed, and may be tried again */
    {"partitions: not allowed", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
     1, CS_KAFKA_ABORT},
    {"offsets: another generation", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, 1,
     CS_KAFKA_ABORT},
    {"offsets: no member", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1,
     CS_KAFKA_ABORT},
    {"offsets: another has the instance id", MOCK_TXN_OFFSET_COMMIT,
     RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1, CS_KAFKA_ABORT},
    {"offsets: rebalance", MOCK_TXN_OFFSET_COMMIT, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 1,
     CS_KAFKA_ABORT},
    {"offsets: metadata too large", MOCK_TXN_OFFSET_COMMIT,
     RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE, 1, CS_KAFKA_ABORT},
    {"commit: producer unknown", MOCK_END_TXN, RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, 1,
     CS_KAFKA_ABORT},
    /* one message of it will never be taken */
    {"produce: too large", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1,
     CS_KAFKA_TOO_LARGE},
    {"produce: invalid record", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_RECORD, 1,
     CS_KAFKA_TOO_LARGE},
    /* another has the id */
    {"partitions: old epoch", MOCK_ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1,
     CS_KAFKA_FENCED},
    {"produce: old epoch", MOCK_PRODUCE, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1,
     CS_KAFKA_FENCED},
    {"commit: old epoch", MOCK_END_TXN, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1,
     CS_KAFKA_FENCED},
    {"commit: fenced", MOCK_END_TXN, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, 1, CS_KAFKA_FENCED},
    /* nobody knows: the offsets must be asked */
    {"commit: state not as thought", MOCK_END_TXN, RD_KAFKA_RESP_ERR_INVALID_TXN_STATE, 1,
     CS_KAFKA_UNKNOWN},
    {"commit: no answer in time", MOCK_END_TXN, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, 64,
     CS_KAFKA_UNKNOWN},
};

/* The table; and whatever was answered, the way on that the header names leads to a commit. */
static void test_each_refusal_has_its_answer_and_a_way_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cs_kafka_out *out = open_out("table");
        enum cs_kafka_result r;
        const char *at;

        assert_int_equal(transact(out, &at), CS_KAFKA_OK);
        mock_kafka_push(&mock, rows[i].request, rows[i].err, rows[i].n);
        r = transact(out, &at);
        mock_kafka_forget(&mock);
        if (r != rows[i].want)
            fail_msg("%s: %s at %s, want %s (%s)", rows[i].name, cs_kafka_result_name(r), at,
                     cs_kafka_result_name(rows[i].want), cs_kafka_out_error(out));
        if (r == CS_KAFKA_ABORT) {
            assert_int_equal(cs_kafka_out_abort(out, 10000), CS_KAFKA_OK);
        } else if (r != CS_KAFKA_OK) {
            cs_kafka_out_free(out);
            out = open_out("table");
        }
        assert_int_equal(transact(out, &at), CS_KAFKA_OK);
        cs_kafka_out_free(out);
    }
}

/* The library starts a new epoch, which costs the transaction, or gives the handle up, as the moment has it; in the
 * second case what was in flight may or may not be there. */
static void test_a_lost_sequence_costs_the_transaction_or_the_handle(void **state)
{
    struct cs_kafka_out *out = open_out("sequence");
    enum cs_kafka_result r;
    const char *at;

    (void)state;
    mock_kafka_push(&mock, MOCK_PRODUCE, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
    r = transact(out, &at);
    mock_kafka_forget(&mock);
    assert_int_not_equal(r, CS_KAFKA_OK);
    if (r == CS_KAFKA_ABORT)
        r = cs_kafka_out_abort(out, 10000);
    if (r != CS_KAFKA_OK) {
        if (r != CS_KAFKA_FATAL && r != CS_KAFKA_UNKNOWN)
            fail_msg("%s at %s (%s)", cs_kafka_result_name(r), at, cs_kafka_out_error(out));
        cs_kafka_out_free(out);
        out = open_out("sequence");
    }
    assert_int_equal(transact(out, &at), CS_KAFKA_OK);
    cs_kafka_out_free(out);
}

static void test_a_commit_that_is_given_up_is_unknown(void **state)
{
    char map[] = "1";
    const struct cs_kafka_offset offset = {CS_TOPIC_JOBS, 1, 5, map};
    struct cs_kafka_out *out = open_out("short");

    (void)state;
    assert_int_equal(cs_kafka_out_begin(out), CS_KAFKA_OK);
    assert_int_equal(produce(out, 1), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_offsets(out, group, &offset, 1, 10000), CS_KAFKA_OK);
    for (int i = 1; i <= 3; i++)
        rd_kafka_mock_broker_set_rtt(mock.cluster, i, 700);
    assert_int_equal(cs_kafka_out_commit(out, 50), CS_KAFKA_UNKNOWN);
    for (int i = 1; i <= 3; i++)
        rd_kafka_mock_broker_set_rtt(mock.cluster, i, 0);
    cs_kafka_out_free(out);
}

static void test_no_broker_is_no_error_of_ours(void **state)
{
    struct cs_kafka_out *out = NULL;
    struct cs_conf_error err;
    int64_t began_ms = cs_clock_mono_ms();

    (void)state;
    for (int i = 1; i <= 3; i++)
        rd_kafka_mock_broker_set_down(mock.cluster, i);
    assert_int_equal(cs_kafka_out_new(&mock.conf, "down", NULL, &out, &err), 0);
    assert_int_equal(cs_kafka_out_init(out, 1000), CS_KAFKA_AGAIN);
    assert_true(cs_clock_mono_ms() - began_ms < 5000);
    for (int i = 1; i <= 3; i++)
        rd_kafka_mock_broker_set_up(mock.cluster, i);
    assert_int_equal(cs_kafka_out_init(out, 20000), CS_KAFKA_OK);
    cs_kafka_out_free(out);
}

static void test_a_value_that_is_refused_stays_the_callers(void **state)
{
    size_t n = CS_KAFKA_MESSAGE_MAX + 1000;
    char *value = calloc(1, n);
    struct cs_kafka_out *out = open_out("large");

    (void)state;
    assert_non_null(value);
    assert_int_equal(cs_kafka_out_begin(out), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_produce(out, CS_TOPIC_RECORDS, 1, "key", 3, value, n, NULL, 0),
                     CS_KAFKA_TOO_LARGE);
    free(value);
    cs_kafka_out_free(out);
}

static void test_without_transactions_a_flush_tells(void **state)
{
    struct cs_kafka_out *out = open_out(NULL);

    (void)state;
    assert_int_equal(produce(out, 3), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_OK);
    mock_kafka_push(&mock, MOCK_PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, 2);
    assert_int_equal(produce(out, 3), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_OK);
    mock_kafka_push(&mock, MOCK_PRODUCE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 1);
    assert_int_equal(produce(out, 1), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_TOO_LARGE);
    mock_kafka_push(&mock, MOCK_PRODUCE, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1);
    assert_int_equal(produce(out, 1), CS_KAFKA_OK);
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_FATAL);
    mock_kafka_forget(&mock);
    cs_kafka_out_free(out);
}

/* A full queue is back-pressure: poll, try again, lose nothing. */
static void test_a_full_queue_takes_the_message_later(void **state)
{
    struct cs_kafka_out *out;
    unsigned again = 0;

    (void)state;
    mock_kafka_property(&mock, "queue.buffering.max.messages", "10");
    out = open_out(NULL);
    for (int i = 0; i < 200; i++) {
        char *value = strdup("value");
        enum cs_kafka_result r;

        assert_non_null(value);
        while ((r = cs_kafka_out_produce(out, CS_TOPIC_RECORDS, 1, "key", 3, value, 5, NULL, 0)) ==
               CS_KAFKA_AGAIN)
            assert_true(++again < 10000);
        assert_int_equal(r, CS_KAFKA_OK);
    }
    assert_true(again > 0);
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_OK);
    cs_kafka_out_free(out);
}

static void test_a_property_that_is_refused_names_itself_and_hides_its_value(void **state)
{
    struct mock_kafka own = mock;
    char *keys[1], *values[1];
    char *const bad[][2] = {{(char[]){"no.such.property"}, (char[]){"hidden-value"}},
                            {(char[]){"linger.ms"}, (char[]){"hidden-value"}},
                            {(char[]){"message.max.bytes"}, (char[]){"1000"}}};

    (void)state;
    own.conf.kafka_properties.n = 1;
    own.conf.kafka_properties.keys = keys;
    own.conf.kafka_properties.values = values;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct cs_kafka_out *out = NULL;
        struct cs_conf_error err = {""};

        keys[0] = bad[i][0];
        values[0] = bad[i][1];
        assert_int_equal(cs_kafka_out_new(&own.conf, "id", NULL, &out, &err), -22);
        assert_non_null(strstr(err.text, keys[0]));
        assert_null(strstr(err.text, "hidden-value"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_refusal_has_its_answer_and_a_way_on),
        cmocka_unit_test(test_a_lost_sequence_costs_the_transaction_or_the_handle),
        cmocka_unit_test(test_a_commit_that_is_given_up_is_unknown),
        cmocka_unit_test(test_no_broker_is_no_error_of_ours),
        cmocka_unit_test(test_a_value_that_is_refused_stays_the_callers),
        cmocka_unit_test(test_without_transactions_a_flush_tells),
        cmocka_unit_test(test_a_property_that_is_refused_names_itself_and_hides_its_value),
        cmocka_unit_test(test_a_full_queue_takes_the_message_later), /* last: its property stays */
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
