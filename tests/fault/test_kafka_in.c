/* A member of a group under a broker's refusals: rebalances, a lost session, a fenced instance, offsets and their maps.
 * Against librdkafka's mock cluster. */
#include "common/kafka_in.h"

#include "tests/unit/cmocka_all.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/kafka_out.h"
#include "tests/support/mock_kafka.h"

#define PARTITIONS  4
#define DEADLINE_MS 30000

static const enum cs_topic topics[] = {CS_TOPIC_JOBS};

static void open_mock(struct mock_kafka *m)
{
    mock_kafka_open(m, 1, PARTITIONS);
    mock_kafka_property(m, "session.timeout.ms", "4000");
    mock_kafka_property(m, "heartbeat.interval.ms", "300");
    mock_kafka_property(m, "fetch.wait.max.ms", "10");
}

static struct cs_kafka_in *join(const struct mock_kafka *m, const char *name)
{
    struct cs_kafka_in *in = NULL;
    struct cs_conf_error err;

    assert_int_equal(cs_kafka_in_new(&m->conf, name, topics, 1, NULL, &in, &err), 0);
    assert_int_equal(cs_kafka_in_subscribe(in), 0);
    return in;
}

/* The next event of this kind, waiting as the daemons do: poll(2) on the descriptor. Others pass by. */
static void await_event(struct cs_kafka_in *in, enum cs_kafka_event want, bool messages,
                        struct cs_kafka_msg *msg, bool *lost)
{
    int64_t until_ms = cs_clock_mono_ms() + DEADLINE_MS;
    enum cs_kafka_event event;

    while ((event = cs_kafka_in_next(in, messages, 0, msg, lost)) != want) {
        if (cs_clock_mono_ms() > until_ms)
            fail_msg("event %d did not come", (int)want);
        if (event == CS_KAFKA_EV_NONE) {
            struct pollfd fd = {cs_kafka_in_fd(in), POLLIN, 0};

            (void)poll(&fd, 1, 200);
        }
    }
}

static void assign(struct cs_kafka_in *in)
{
    const int32_t *numbers = NULL;
    size_t n = cs_kafka_in_partitions(in, &numbers), found = 0;
    struct cs_kafka_offset *offsets = NULL;

    assert_int_equal(cs_kafka_in_committed(in, numbers, n, 10000, &offsets, &found), 0);
    assert_int_equal(found, n);
    assert_int_equal(cs_kafka_in_assign(in, offsets, found), 0);
    cs_kafka_offsets_free(offsets, found);
}

static void put(const struct mock_kafka *m, int32_t partition, int n)
{
    struct cs_kafka_out *out = NULL;
    struct cs_conf_error err;

    assert_int_equal(cs_kafka_out_new(&m->conf, NULL, NULL, &out, &err), 0);
    assert_int_equal(cs_kafka_out_init(out, 10000), CS_KAFKA_OK);
    for (int i = 0; i < n; i++) {
        char *value = strdup("value");

        assert_non_null(value);
        assert_int_equal(
            cs_kafka_out_produce(out, CS_TOPIC_JOBS, partition, "key", 3, value, 5, NULL, 0),
            CS_KAFKA_OK);
    }
    assert_int_equal(cs_kafka_out_flush(out, 10000), CS_KAFKA_OK);
    cs_kafka_out_free(out);
}

static void test_messages_come_only_when_wanted_and_start_where_committed(void **state)
{
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_offset *found = NULL, offset = {CS_TOPIC_JOBS, 2, 3, NULL};
    char map[] = "1;2,4;1,1";
    struct cs_kafka_msg msg;
    const int32_t two = 2;
    size_t n = 0;
    bool lost;

    (void)state;
    open_mock(&m);
    put(&m, 2, 5);
    in = join(&m, "g1");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    assign(in);
    /* bounded prefetch fills meanwhile; nothing is handed out */
    for (int i = 0; i < 5; i++)
        assert_int_equal(cs_kafka_in_next(in, false, 100, &msg, &lost), CS_KAFKA_EV_NONE);
    for (int64_t i = 0; i < 5; i++) {
        await_event(in, CS_KAFKA_EV_MESSAGE, true, &msg, &lost);
        assert_int_equal(msg.partition, 2);
        assert_int_equal(msg.offset, i);
        assert_int_equal(msg.topic, CS_TOPIC_JOBS);
        assert_memory_equal(msg.value, "value", 5);
    }
    offset.metadata = map;
    assert_int_equal(cs_kafka_in_commit(in, &offset, 1), 0);
    assert_int_equal(cs_kafka_in_committed(in, &two, 1, 10000, &found, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(found[0].offset, 3);
    assert_string_equal(found[0].metadata, map);
    cs_kafka_offsets_free(found, n);
    cs_kafka_in_free(in);

    in = join(&m, "g1");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    assign(in);
    await_event(in, CS_KAFKA_EV_MESSAGE, true, &msg, &lost);
    assert_int_equal(msg.offset, 3);
    cs_kafka_in_free(in);
    mock_kafka_close(&m);
}

static void test_a_rebalance_is_told_and_waits_for_its_answer(void **state)
{
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_msg msg;
    struct cs_kafka_group *before, *after;
    bool lost = true;

    (void)state;
    open_mock(&m);
    in = join(&m, "g2");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    before = cs_kafka_in_group(in);
    assert_non_null(before);
    assign(in);
    mock_kafka_push(&m, MOCK_HEARTBEAT, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, 1);
    await_event(in, CS_KAFKA_EV_REVOKE, true, &msg, &lost);
    assert_false(lost);
    assert_int_equal(cs_kafka_in_unassign(in), 0);
    await_event(in, CS_KAFKA_EV_ASSIGN, true, &msg, &lost);
    after = cs_kafka_in_group(in);
    assert_non_null(after);
    assign(in);
    cs_kafka_group_free(before);
    cs_kafka_group_free(after);
    cs_kafka_in_free(in);
    mock_kafka_close(&m);
}

static void test_a_lost_session_says_so(void **state)
{
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_msg msg;
    bool lost = false;

    (void)state;
    open_mock(&m);
    in = join(&m, "g3");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    assign(in);
    mock_kafka_push(&m, MOCK_HEARTBEAT, RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, 1);
    await_event(in, CS_KAFKA_EV_REVOKE, true, &msg, &lost);
    assert_true(lost);
    assert_int_equal(cs_kafka_in_unassign(in), 0);
    await_event(in, CS_KAFKA_EV_ASSIGN, true, &msg, &lost);
    assign(in);
    cs_kafka_in_free(in);
    mock_kafka_close(&m);
}

static void test_an_instance_id_that_another_took_is_told(void **state)
{
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_msg msg;
    bool lost;

    (void)state;
    open_mock(&m);
    free(m.conf.instance_id);
    m.conf.instance_id = strdup("w1");
    in = join(&m, "g4");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    assign(in);
    mock_kafka_push(&m, MOCK_HEARTBEAT, RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID, 1);
    await_event(in, CS_KAFKA_EV_FENCED, true, &msg, &lost);
    cs_kafka_in_free(in);
    mock_kafka_close(&m);
}

static void test_commits_that_are_refused_say_why(void **state)
{
    static const struct {
        rd_kafka_resp_err_t err;
        int want;
    } rows[] = {
        {RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, -ESTALE},
        {RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID, -ESTALE},
        {RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED, -EIO},
    };
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_msg msg;
    bool lost;

    (void)state;
    open_mock(&m);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct cs_kafka_offset offset = {CS_TOPIC_JOBS, 0, 0, NULL};
        char name[8];

        snprintf(name, sizeof(name), "c%zu", i);
        in = join(&m, name);
        await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
        assign(in);
        mock_kafka_push(&m, MOCK_OFFSET_COMMIT, rows[i].err, 1);
        assert_int_equal(cs_kafka_in_commit(in, &offset, 1), rows[i].want);
        mock_kafka_forget(&m);
        cs_kafka_in_free(in);
    }
    mock_kafka_close(&m);
}

/* How sure is it that the partitions are still ours? Only an answer of the coordinator counts. And that nobody answers is
 * said once, as is that somebody does again. */
static void test_a_broker_that_is_away_is_told_once_and_the_membership_grows_old(void **state)
{
    struct mock_kafka m;
    struct cs_kafka_in *in;
    struct cs_kafka_msg msg;
    unsigned downs = 0, ups = 0;
    int64_t until_ms;
    bool lost;

    (void)state;
    open_mock(&m);
    in = join(&m, "g5");
    await_event(in, CS_KAFKA_EV_ASSIGN, false, &msg, &lost);
    assign(in);
    until_ms = cs_clock_mono_ms() + DEADLINE_MS;
    while (cs_kafka_in_session_age_ms(in) > 1500) {
        assert_true(cs_clock_mono_ms() < until_ms);
        (void)cs_kafka_in_next(in, true, 100, &msg, &lost);
    }
    rd_kafka_mock_broker_set_down(m.cluster, 1);
    while (downs == 0 || cs_kafka_in_session_age_ms(in) < 2500) {
        assert_true(cs_clock_mono_ms() < until_ms);
        downs += cs_kafka_in_next(in, true, 100, &msg, &lost) == CS_KAFKA_EV_DOWN;
    }
    rd_kafka_mock_broker_set_up(m.cluster, 1);
    while (ups == 0) {
        enum cs_kafka_event event = cs_kafka_in_next(in, true, 100, &msg, &lost);

        assert_true(cs_clock_mono_ms() < until_ms);
        downs += event == CS_KAFKA_EV_DOWN;
        ups += event == CS_KAFKA_EV_UP;
        if (event == CS_KAFKA_EV_REVOKE)
            assert_int_equal(cs_kafka_in_unassign(in), 0);
        if (event == CS_KAFKA_EV_ASSIGN)
            assign(in);
    }
    assert_int_equal(downs, 1);
    assert_true(cs_kafka_in_session_age_ms(in) < 2500);
    cs_kafka_in_free(in);
    mock_kafka_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_come_only_when_wanted_and_start_where_committed),
        cmocka_unit_test(test_a_rebalance_is_told_and_waits_for_its_answer),
        cmocka_unit_test(test_a_lost_session_says_so),
        cmocka_unit_test(test_an_instance_id_that_another_took_is_told),
        cmocka_unit_test(test_commits_that_are_refused_say_why),
        cmocka_unit_test(test_a_broker_that_is_away_is_told_once_and_the_membership_grows_old),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
